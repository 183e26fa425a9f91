"""Functions of one variable: those that SymPy lacks or prints unstably, and which ones a model may hold."""

from sympy import Function, S, exp, log

# the functions with a rule in every target
KNOWN = (
    "Abs Heaviside acos acosh asin asinh atan atanh ceiling cos cosh erf erfc exp floor log logistic sign sin sinc "
    "sinh softplus tan tanh".split()
)


class logistic(Function):
    """1/(1 + exp(-x)), kept whole so that it is evaluated without overflow."""

    nargs = 1

    def fdiff(self, argindex=1):
        """The derivative."""
        return self * (1 - self)

    @classmethod
    def eval(cls, x):
        """The value at zero."""
        return S.Half if x.is_zero else None

    def _eval_is_real(self):
        return True

    def _latex(self, printer, exp=None):
        text = rf"\operatorname{{logistic}}\left({printer._print(self.args[0])}\right)"
        return text if exp is None else f"{text}^{{{exp}}}"

    def _eval_rewrite_as_exp(self, x, **kwargs):
        return 1 / (1 + exp(-x))

    def _eval_evalf(self, prec):
        return (1 / (1 + exp(-self.args[0])))._eval_evalf(prec)


class softplus(Function):
    """log(1 + exp(x)), kept whole so that it is evaluated without overflow."""

    nargs = 1

    def fdiff(self, argindex=1):
        """The derivative."""
        return logistic(self.args[0])

    def _eval_is_real(self):
        return True

    def _latex(self, printer, exp=None):
        text = rf"\operatorname{{softplus}}\left({printer._print(self.args[0])}\right)"
        return text if exp is None else f"{text}^{{{exp}}}"

    def _eval_evalf(self, prec):
        return log(1 + exp(self.args[0]))._eval_evalf(prec)

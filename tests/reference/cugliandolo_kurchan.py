"""Independent integration of the Cugliandolo-Kurchan equations of the spherical p-spin model: NumPy and SciPy only.

    python tests/reference/cugliandolo_kurchan.py        (exact p = 2, order, equilibrium, plateau: seconds)

Langevin dynamics at temperature T from a random initial condition, C(0,0) = 1. For t > t'

    dC(t,t')/dt = -mu(t) C(t,t') + p(p-1)/2 int_0^t  ds R(t,s) C(t,s)^{p-2} C(s,t')
                                 + p/2      int_0^t' ds C(t,s)^{p-1} R(t',s)
    dR(t,t')/dt = -mu(t) R(t,t') + p(p-1)/2 int_t'^t ds R(t,s) C(t,s)^{p-2} R(s,t')
    mu(t)       = T + p^2/2 int_0^t ds R(t,s) C(t,s)^{p-1}                              (from C(t,t) = 1)

with R(t+,t) = 1. In equilibrium (T above T_d; 0.6124 for p = 3) mu = T + p/(2T) and R = -C'(t-s)/T.
"""

from itertools import pairwise

import numpy as np
from scipy.special import iv


def integrate(p, temperature, steps, dt):
    """C (symmetric), R (0 above the diagonal, 1 = R(t+,t) on it) and mu on a uniform grid: Heun, trapezoidal."""
    C, R, mu = np.eye(steps), np.eye(steps), np.empty(steps)
    mu[0] = temperature
    for t in range(steps - 1):
        slope_c, slope_r, mu[t] = slopes(C, R, t, t, p, temperature, dt)
        now, new = slice(0, t + 1), t + 1
        C[new, now] = C[now, new] = C[t, now] + dt * slope_c
        R[new, now] = R[t, now] + dt * slope_r
        late_c, late_r, _ = slopes(C, R, new, t, p, temperature, dt)
        C[new, now] = C[now, new] = C[t, now] + dt * (slope_c + late_c) / 2
        R[new, now] = R[t, now] + dt * (slope_r + late_r) / 2
    mu[-1] = slopes(C, R, steps - 1, steps - 1, p, temperature, dt)[2]
    return {"C": C, "R": R, "mu": mu}


def slopes(C, R, t, last, p, temperature, dt):
    """dC(t,t')/dt and dR(t,t')/dt for all t' <= last from rows up to t, and mu(t); trapezoidal rule."""
    past, late = slice(0, t + 1), slice(0, last + 1)
    row, response = C[t, past], R[t, past]
    memory = dt * p * (p - 1) / 2 * response * row ** (p - 2)
    noise = dt * p / 2 * row ** (p - 1)
    trapezoid = memory.copy()
    trapezoid[[0, -1]] *= 0.5 if t else 0.0  # an empty interval at t = 0
    mu = temperature + p / (p - 1) * trapezoid @ row
    from_noise = R[late, late] @ noise[late] - (noise[late] + noise[0] * R[late, 0]) / 2
    from_memory = memory @ R[past, late] - (memory[late] + memory[-1] * R[t, late]) / 2
    slope_c = -mu * C[t, late] + C[late, past] @ trapezoid + from_noise
    return slope_c, -mu * R[t, late] + from_memory, mu


def exact_two_spin(times):
    """C, R and mu for p = 2 at T = 0 in closed form: gradient descent on the eigenvectors of a semicircular matrix."""
    bessel = lambda x: np.where(x == 0, 1.0, iv(1, 2 * x) / np.where(x == 0, 1, x))  # mean of exp(lambda x)
    gamma = bessel(2 * times)  # exp(2 int_0^t mu)
    root = np.sqrt(gamma)
    lag = times[:, None] - times
    C = bessel(times[:, None] + times) / np.outer(root, root)
    R = np.where(lag >= 0, root[None, :] / root[:, None] * bessel(np.abs(lag)), 0.0)
    mu = np.where(times == 0, 0.0, 2 * iv(2, 4 * times) / iv(1, np.where(times == 0, 1.0, 4 * times)))
    return {"C": C, "R": R, "mu": mu}


def order_of_convergence(p=3, temperature=0.8, duration=4.0):
    """Differences of C, R, mu at common times between dt = 0.1, 0.05, 0.025, 0.0125 in turn."""
    runs = []
    for factor in (1, 2, 4, 8):
        run = integrate(p, temperature, round(duration * 10) * factor + 1, 0.1 / factor)
        runs.append([run["C"][::factor, ::factor], run["R"][::factor, ::factor], run["mu"][::factor]])
    return [[np.abs(a - b).max() for a, b in zip(*pair, strict=True)] for pair in pairwise(runs)]


def fdt_violation(run, temperature, dt, wait):
    """Largest |R + C'(tau)/T| after a waiting time, the derivative in s by central differences, and largest R there."""
    start = round(wait / dt)
    slope = (run["C"][-1, start + 2 :] - run["C"][-1, start:-2]) / (2 * dt)
    response = run["R"][-1, start + 1 : -1]
    return np.abs(response - slope / temperature).max(), response.max()


def plateau(p, temperature):
    """Below T_d: the larger root q of p(p-1)/2 q^{p-2} (1-q)^2 = T^2, where C(t_w + tau, t_w) halts; and late mu."""
    trial = np.linspace((p - 2) / p, 1, 100001)
    q = trial[np.argmin(np.abs(p * (p - 1) / 2 * trial ** (p - 2) * (1 - trial) ** 2 - temperature**2))]
    ratio = (p - 2) * (1 - q) / q  # of the late response to what FDT would give
    return q, temperature + p / (2 * temperature) * (1 - q**p + ratio * q**p)


def check():
    """Print the errors for p = 2 at T = 0; for p = 3 the order, equilibrium at T = 0.8 and the plateau at T = 0.5."""
    for dt in (0.1, 0.05, 0.025):
        run, exact = integrate(2, 0.0, round(10 / dt) + 1, dt), exact_two_spin(dt * np.arange(round(10 / dt) + 1))
        print("p = 2, T = 0, dt =", dt, "largest errors", {k: np.abs(run[k] - exact[k]).max() for k in exact})
    errors = np.array(order_of_convergence())
    print("differences of C, R, mu:\n", errors, "\norders:\n", np.log2(errors[:-1] / errors[1:]))
    for dt in (0.1, 0.05, 0.025):
        run = integrate(3, 0.8, round(40 / dt) + 1, dt)
        print("T = 0.8, dt =", dt, "mu(40) =", run["mu"][-1], "equilibrium", 0.8 + 3 / 1.6)
        print("  FDT: largest difference, largest R", fdt_violation(run, 0.8, dt, 15.0))
    for temperature in (0.8, 0.5):
        run, late = integrate(3, temperature, 2001, 0.1), (0, 1, 5, 10, 20, 40, 80)
        for wait in (10, 40, 100):
            values = [round(float(run["C"][(wait + tau) * 10, wait * 10]), 4) for tau in late]
            print("T =", temperature, "t_w =", wait, "C(t_w + tau, t_w) for tau =", late, ":", values)
    fine = integrate(3, 0.5, 2001, 0.05)["mu"][[500, 1000, 2000]]
    print("T = 0.5: mu(25), mu(50), mu(100) extrapolated in dt", fine + (fine - run["mu"][[250, 500, 1000]]) / 3)
    print("  expected q and late mu", plateau(3, 0.5))


if __name__ == "__main__":
    check()

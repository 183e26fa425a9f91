"""The command line: options are read, the public interface is called, one line says what was wrong."""

"""Other libraries of recourse, on the same rows and the same classifier: `python -m benchmarks peers`.

`table` lists the libraries with the versions that install together. `environments` makes a virtual environment for
each, and `exchange` runs a driver in it, a script of `drivers` that imports the library and nothing of this project.
`judge` measures all answers by the metrics of this project.
"""

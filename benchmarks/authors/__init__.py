"""The results that the authors saved, against ours with the behaviour of their code turned on, switch by switch.

`switches` lists the switches, `stream` draws the original's random numbers, `descent` is its loop of Wachter's method,
`rounding` counts its rounding errors, and `sessions` computes the cells.
"""

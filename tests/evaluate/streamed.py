"""A streamed population for tests, also as one of P processes: `python streamed.py PORT P p DEVICES CHECKPOINT`."""

import sys
import time

import jax
import jax.numpy as jnp

from hare_jax.evaluate import processes, stream
from hare_jax.evaluate.sharding import map_users
from hare_jax.evaluate.sketch import pack
from hare_jax.evaluate.stream import Counted

NUM, SIZE, CHUNK = 1003, 8, 64
PAUSE = 0.02  # seconds after a chunk, so that a test can kill the process in the middle


def figures(key):
    """Two figures of a user, of which one is not counted for all."""
    draws = jax.random.uniform(key, (20,))
    return {
        "sum": Counted(jnp.sum(jnp.exp(draws) ** 1.3), draws[0] > 0.1),
        "level": Counted(jnp.floor(draws[1] * 9), jnp.array(True)),
    }


def of_row(key, row):
    """The figure of a user with a row."""
    return {"product": Counted(row[0] * jax.random.uniform(key), row[1] > 0)}


def main(port, num, index, devices, checkpoint):
    """Print the numbers of users of this process and the packed summary of all."""
    jax.config.update("jax_num_cpu_devices", int(devices))
    if int(num) > 1:
        jax.distributed.initialize(f"localhost:{port}", int(num), int(index))
        assert map_users(lambda row: row + int(index), jnp.arange(5)).tolist() == [row + int(index) for row in range(5)]
    steps = stream.chunks(figures, jax.random.key(0), NUM, batch_size=SIZE, chunk=CHUNK, checkpoint=checkpoint)
    last = [time.sleep(PAUSE) or progress for progress in steps][-1]
    packed = pack(processes.merged(last.sketches))
    print(last.users, *packed.reshape(-1).tolist())


if __name__ == "__main__":
    main(*sys.argv[1:])

"""mcdev's programs judged for a GPU without one: compiled for an H200 by its description, and counted.

    python -m benchmarks gpu_static                 table, and benchmarks/results/gpu_static.json
    python benchmarks/gpu_static.py --only NAME     some programs, by the beginning of their names
    python benchmarks/gpu_static.py --accept        counts that have risen become the new ones

XLA needs no device for that, only its description (`reference/h200.txtpb`). What it leaves behind says what a call of
64 samples does: kernels, loops, graphs, and where the host must read something back before it can go on. ptxas says
registers and spills, cuobjdump the instructions. The script fails where a count has risen by more than a tenth above
the committed results.

Times are estimates from counts, good to a factor of two: a launch takes 2.2 µs, a loop whose condition the host reads
12 µs a turn, a node of a graph 1.3 µs, and a kernel three quarters of the multiprocessors' instructions a second, or
its bytes from memory if that takes longer. Of a choice the branch that takes longest is counted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
TARGET = HERE / "reference" / "h200.txtpb"
RESULTS = HERE / "results" / "gpu_static.json"
INSTALL = """\
nothing was compiled: {why}. This takes 5 GB and Python 3.12 or newer:

    python3.12 -m venv static && . static/bin/activate
    pip install -e . "jax==0.11.2" "jaxlib==0.11.2" "jax-cuda13-plugin[with-cuda]==0.11.2" "jax-cuda13-pjrt==0.11.2"
    pip install nvidia-cuda-nvcc nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm
    python -m benchmarks gpu_static"""
MULTIPROCESSORS, ISSUED, HERTZ, REACHED, BANDWIDTH = 132, 4, 1.98e9, 0.75, 4.8e12
"""Of an H200: instructions of a warp that each multiprocessor begins in a cycle; the share of that which is reached;
bytes a second."""
LAUNCH, READ_BACK, NODE = 2.2e-6, 12e-6, 1.3e-6  # seconds
WORSE = 1.1
HELD_TO = (
    *("kernels_per_sample", "nodes_per_interval", "read_backs", "loops", "graphs", "graph_launches_per_call"),
    *("instructions_per_step", "bytes_per_step"),
)
HELD_TO_OF_KERNELS = ("instructions", "registers", "spills")


@dataclass(frozen=True)
class Program:
    """A shipped program, and how often its inner loops turn."""

    device: dict[str, Any]
    devices: int
    turns: tuple[int, ...]
    """Turns of the loops within a sample, from the outside: intervals, then what the family loops over."""
    steps: int
    """Steps of a device (of each of its particles) in one sample, by which the estimate is divided."""
    parts: int = 1
    others: dict[str, Any] = field(default_factory=dict)
    closed: tuple[str, ...] = ()
    """Ways of a GPU (``mcdev.machine.gpu``) that are not taken."""
    per_turn: int = 0
    """Steps in one turn of the longest loop within the particles' kernel."""
    cells: int = 0
    """That the kernels which eliminate ions go through: two threads a device, each with code and a half of its own."""


def particles(scheme: str, devices: int, **others: Any) -> Program:
    device = {"preset": "wang2017_reduced", "integrator": {"scheme": scheme, "step": "2e-6 s"}}
    return Program(device, devices, (1, 4, 1), 64, 40, **others)


HOLD = {"kind": "hold", "voltage": "1 V", "duration": "1 s", "samples": 64}
PROGRAMS = {
    "particles, Heun, 8192 devices": particles("heun", 8192, per_turn=4),
    "particles, Euler-Maruyama": particles("euler_maruyama", 8192, per_turn=4),
    "particles, Heun, 64 devices": particles("heun", 64, per_turn=4),
    "particles, Heun, 65536 devices": particles("heun", 65536, per_turn=4),
    "particles, Heun, XLA's loop": particles("heun", 8192, closed=("kernel",)),
    "density view": Program({"kind": "diffusive_density", "preset": "wang2017_sioxny_device"}, 1024, (8, 2, 8), 8),
    "hopping view": Program(
        {"kind": "diffusive_hopping", "preset": "wang2017_sioxny_device"}, 8192, (8, 20, 20), 8, 40
    ),
    "level 1": Program({"preset": "device_1s"}, 10_000, (1, 8), 8),
    "level 2": Program({"preset": "device_1s_pnp"}, 10_000, (1, 8, 6), 2, cells=60),
    "level 2, all cells at once": Program({"preset": "device_1s_pnp"}, 10_000, (1, 8, 6), 2, closed=("sweep",)),
    "network of two memristors": Program(
        {"preset": "wang2017_reduced"},
        4096,
        (1, 8, 8),
        64,
        80,
        {
            "circuit": {
                "kind": "network",
                "elements": {
                    "V": {"kind": "voltage_source", "between": ["in", "0"]},
                    "M1": {"kind": "memristor", "between": ["in", "n"]},
                    "M2": {"kind": "memristor", "between": ["n", "0"]},
                    "R": {"kind": "resistor", "between": ["n", "0"], "resistance": "5 ohm"},
                    "C": {"kind": "capacitor", "between": ["n", "0"], "capacitance": "0.1 F"},
                },
            }
        },
        per_turn=4,
    ),
}


# -------------------------------------------------------------------------------------- one program, compiled


def compile_one(program: Program, folder: Path) -> dict[str, Any]:
    """In a process of its own, which has been told to dump: the program of one group, for the description's GPU."""
    import jax
    import numpy as np
    from jax.experimental import topologies

    jax.config.update("jax_platforms", "cpu")
    topology = topologies.get_topology_desc(
        platform="cuda", target_config=TARGET.read_text(encoding="utf-8"), topology="1x1x1"
    )
    where = jax.sharding.SingleDeviceSharding(topology.devices[0])
    jax.default_backend = lambda: "gpu"  # mcdev asks for it while it is traced

    import mcdev
    from mcdev.machine import gpu
    from mcdev.machine.environment import computing
    from mcdev.simulation import program as compiled
    from mcdev.simulation.group import Group, Piece
    from mcdev.simulation.trial import BATCH, Trial

    for way in gpu.WAYS:  # all families are imported, and with them the modules that offer one
        way.presume()
        if way.name in program.closed:
            way.close("not taken here")
    experiment = mcdev.build(
        {
            "name": "static",
            "device": program.device,
            "protocol": HOLD,
            "measurements": {"g": {"kind": "mean_conductance"}},
            "ensemble": {"devices": program.devices},
        }
        | program.others
    )
    trial = Trial(experiment)
    with computing(experiment.precision == "float64"):
        group = Group([Piece(trial, 0, min(8, program.devices))])
        word = jax.ShapeDtypeStruct((group.lanes,), np.uint32)
        carry = jax.eval_shape(compiled.rest, group.devices, group.circuit, (word, word))

        def placed(tree: Any) -> Any:
            return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), x.dtype, sharding=where), tree)

        kinds = (trial.dtype, trial.dtype, np.uint32, np.uint32, trial.dtype)
        points = group.lanes // group.slot
        rows = compiled.Row(*(jax.ShapeDtypeStruct((BATCH, points), kind, sharding=where) for kind in kinds))
        options = gpu.graph_options() if gpu.GRAPHS.open() else {}
        given = (*placed((group.devices, group.circuit, (word, word), carry)), rows, placed(group.counted))
        advance = jax.jit(compiled.advance, static_argnames=("place",), compiler_options=options)
        whole = advance.lower(*given, place=group.place).compile()
    memory = whole.memory_analysis()
    return {"lanes": group.lanes, "temporary_MiB": memory.temp_size_in_bytes / 2**20, "ways": gpu.described()}


# -------------------------------------------------------------------------------------- what the compiler made


@dataclass
class Node:
    """Something that is launched, or a loop, a graph, a choice of such."""

    kind: str
    name: str = ""
    threads: int = 0
    inner: dict[str, list[Node]] = field(default_factory=dict)
    """By section (condition, body, branches); of a graph "graph"."""


def parse(text: str) -> list[Node]:
    """The tree of a dump of thunks: what is deeper belongs to the last that is less deep."""
    top: list[Node] = []
    open_: list[tuple[int, Node, str]] = []
    for line in text.splitlines():
        label = re.match(r"\s*([\w ]+):\s*$", line)
        if label and open_:
            indent, node, _ = open_[-1]
            if label[1] != "condition":  # a condition stands unindented right below its loop
                deep = len(line) - len(line.lstrip())
                while open_ and (open_[-1][0] >= deep or open_[-1][1].kind not in ("kWhile", "kConditional")):
                    open_.pop()
                indent, node, _ = open_[-1]
            open_[-1] = (indent, node, label[1])
            continue
        found = re.match(r"(\s*)\d+: (k\w+)\s+\[[^\]]*\]\s*(\w*)(.*)", line)
        if not found:
            continue
        deep = len(found[1])
        sizes = [int(n) for n in re.findall(r"\d+", " ".join(re.findall(r"(?:grid|threads): \[[^\]]*\]", found[4])))]
        node = Node(found[2], found[3], math.prod(sizes) if sizes else 0)
        while open_ and open_[-1][0] >= deep:
            open_.pop()
        (open_[-1][1].inner.setdefault(open_[-1][2], []) if open_ else top).append(node)
        if node.kind in ("kWhile", "kConditional", "kCommandBuffer", "kAsyncStart", "kDynamicSliceFusion"):
            open_.append((deep, node, "graph"))
    return top


def walk(nodes: list[Node], depth: int = 0, graph: bool = False) -> Iterator[tuple[Node, int, bool]]:
    """Everything with the number of loops around it, and whether a graph is around it. Conditions count as inside."""
    for node in nodes:
        yield node, depth, graph
        for section in node.inner.values():
            yield from walk(section, depth + (node.kind == "kWhile"), graph or node.kind == "kCommandBuffer")


def longest(nodes: list[Node], own: dict[int, float]) -> float:
    """Seconds of nodes, whose own are given by id, and of all within them; of a choice, its longest branch."""
    return sum(
        own.get(id(node), 0.0)
        + (max if node.kind == "kConditional" else sum)([longest(inner, own) for inner in node.inner.values()] or [0.0])
        for node in nodes
    )


LAUNCHED = ("kCustomKernel", "kKernel", "kCustomCall", "kCopy", "kMemset", "kMemzero", "kCublas", "kCubSort")


def tool(name: str) -> str:
    spec = importlib.util.find_spec("nvidia")
    for root in spec.submodule_search_locations or [] if spec else []:
        for path in Path(root).glob(f"**/bin/{name}"):
            return str(path)
    return name


def kernels(folder: Path) -> dict[str, dict[str, Any]]:
    """Name → registers, bytes of spills, instructions in all, in the longest loop within the kernel, and in its
    loops together."""
    found: dict[str, dict[str, Any]] = {}
    for ptx in sorted(folder.glob("*.ptx")):
        cubin = ptx.with_suffix(".cubin")
        told = subprocess.run(
            [tool("ptxas"), "-arch=sm_90a", "-v", str(ptx), "-o", str(cubin)],
            check=True,
            capture_output=True,
            text=True,
        ).stderr
        sass = subprocess.run(
            [tool("cuobjdump"), "-sass", str(cubin)], check=True, capture_output=True, text=True
        ).stdout
        for part in re.split(r"Compiling entry function '", told)[1:]:
            name = part.split("'")[0]
            spills = re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", part)
            registers = re.search(r"Used (\d+) registers", part)
            found[name] = {
                "registers": int(registers[1]) if registers else 0,
                "spills": int(spills[1]) + int(spills[2]) if spills else 0,
            }
        for part in re.split(r"Function : ", sass)[1:]:
            name = part.split()[0]
            lines = re.findall(r"/\*([0-9a-f]{4,})\*/\s+(.*?);", part)
            places = [int(place, 16) for place, _ in lines]
            end = max((i for i, (_, what) in enumerate(lines) if "EXIT" in what), default=len(lines) - 1)
            loops = [0]
            for place, what in lines:
                to = re.search(r"BRA.*?0x([0-9a-f]+)", what)
                if to and int(to[1], 16) < int(place, 16):
                    loops.append(sum(int(to[1], 16) <= p <= int(place, 16) for p in places))
            found.setdefault(name, {}).update({"instructions": end + 1, "loop": max(loops), "loops": sum(loops)})
    return found


def numbered(which: int) -> str:
    """A kernel of our own, where a program has several."""
    return f"kCustomCall_{which}" if which else "kCustomCall"


def sizes(text: str) -> dict[str, int]:
    """Name of each fusion of the optimised program → bytes that it reads and writes, each array once. Kernels of our
    own have no name there: kCustomCall, kCustomCall_1 and so on, in the order of the program."""
    widths = {
        "pred": 1,
        "s8": 1,
        "u8": 1,
        "bf16": 2,
        "f16": 2,
        "f32": 4,
        "s32": 4,
        "u32": 4,
        "f64": 8,
        "s64": 8,
        "u64": 8,
    }

    def bytes_of(name: str, one: bool) -> int:
        total, (of, _, which) = 0, name.partition("#")
        arrays = re.findall(r"(\w+)\[([\d,]*)\]", shapes.get(of, ""))
        for kind, dims in [arrays[int(which)]] if which and int(which) < len(arrays) else arrays:
            extent = [int(n) for n in dims.split(",") if n]
            rows = one and len(extent) > 1  # of which it reads or writes one
            total += widths.get(kind, 8) * math.prod(extent[1:] if rows else extent)
        return total

    shapes: dict[str, str] = {}
    calls: dict[str, list[str]] = {}
    for line in text.splitlines():
        made = re.match(r"\s*(?:ROOT )?%([\w.-]+) = (\(.*?\)|\S+) (\w[\w-]*)\((.*?)\)", line)
        if made:
            name = numbered(sum("kCustomCall" in call for call in calls)) if made[3] == "custom-call" else made[1]
            shapes[made[1]] = shapes[name] = made[2]
            if made[3] in ("fusion", "custom-call"):
                calls[name] = re.findall(r"%([\w.#-]+)", made[4])
    found = {}
    for name, given in calls.items():
        one = "dynamic" in name
        found[re.sub(r"[.-]", "_", name)] = sum(bytes_of(each, one) for each in (name, *given))
    return found


# -------------------------------------------------------------------------------------- counts


def count(program: Program, folder: Path, about: dict[str, Any]) -> dict[str, Any]:
    (thunks,) = folder.glob("*advance*thunk_sequence_after_thunk_passes.txt")
    (optimised,) = folder.glob("*advance*gpu_after_optimizations.txt")
    own, moved = kernels(folder), sizes(optimised.read_text(encoding="utf-8"))
    kinds = ("particle", "inward", "outward")
    steps, *halves = (next((name for name in own if name.startswith(f"{kind}_mosaic")), "") for kind in kinds)
    tree = parse(thunks.read_text(encoding="utf-8"))
    nodes = list(walk(tree))
    if halves[0]:
        for which, node in enumerate(node for node, _, _ in nodes if node.kind == "kCustomCall"):
            node.name = numbered(which)
    samples, turns = 64, (64, *program.turns, *[1] * 4)
    launched = [(node, depth, graph) for node, depth, graph in nodes if node.kind in LAUNCHED]
    took: dict[int, float] = {}
    inside = {}
    for node, depth, graph in launched:
        times = math.prod(turns[:depth])
        name = node.name
        if node.kind == "kCustomCall":
            name = steps or (halves[node.name != "kCustomCall"] if halves[0] else name)
        figures = own.get(name, {})
        instructions, threads = figures.get("instructions", 0), node.threads
        if name == steps and steps:
            threads = about["lanes"] * program.parts
            instructions += figures["loop"] * (program.steps // turns[1] // program.per_turn - 1)
        if name in halves and name:
            threads = 2 * about["lanes"]
            instructions = (instructions + figures["loops"] * (program.cells // 2 - 1)) // 2
        if depth and name and figures:
            inside[name] = {key: figures[key] for key in (*HELD_TO_OF_KERNELS, "loop")}
        warps = -(-threads // 32)
        issued = warps * instructions / (MULTIPROCESSORS * ISSUED * HERTZ * REACHED)
        alone = instructions * 4 / HERTZ  # a warp by itself begins an instruction every four cycles or so
        carried = moved.get(node.name or node.kind, 0) / BANDWIDTH
        took[id(node)] = times * (max(issued, alone if figures else 0.0, carried) + (NODE if graph else LAUNCH))
    loops = [(depth, graph) for node, depth, graph in nodes if node.kind == "kWhile"]
    unread = [depth for depth, graph in loops if not graph and depth]
    unread += [depth for node, depth, graph in nodes if node.kind == "kConditional" and not graph]
    seconds = longest(tree, took) + sum(READ_BACK * math.prod(turns[: depth + 1]) for depth in unread)
    done = samples * program.steps * program.parts * about["lanes"]
    work = sum(moved.get(node.name or node.kind, 0) * math.prod(turns[:depth]) for node, depth, _ in launched if depth)
    found: dict[str, Any] = about | {
        "kernels_per_sample": sum(depth >= 1 for _, depth, _ in launched),
        "nodes_per_interval": sum(depth >= 2 for _, depth, _ in launched),
        "loops": len(loops),
        "graphs": sum(node.kind == "kCommandBuffer" for node, _, _ in nodes),
        "graph_launches_per_call": sum(
            math.prod(turns[:depth]) for node, depth, graph in nodes if node.kind == "kCommandBuffer" and not graph
        ),
        "read_backs": len(unread),
        "bytes_per_step": work / done,
        "seconds_per_call": seconds,
        "steps_per_second": done / seconds,
        "kernels": dict(sorted(inside.items())),
    }
    if steps:
        found["instructions_per_step"] = own[steps]["loop"] / program.per_turn
        issue = 32 * MULTIPROCESSORS * ISSUED * HERTZ / found["instructions_per_step"]
        found["issue_bound_steps_per_second"] = issue
    return found


def risen(name: str, now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """Counts above a tenth more than they were, in words. A kernel that was not there is held to nothing."""
    found = [
        f"{name}: {key} {before[key]:g} → {now[key]:g}"
        for key in HELD_TO
        if key in before and now.get(key, 0) > WORSE * before[key]
    ]
    for kernel in now["kernels"].keys() & before.get("kernels", {}).keys():
        then, own = before["kernels"][kernel], now["kernels"][kernel]
        found += [
            f"{name}, kernel {kernel}: {key} {then[key]} → {own[key]}"
            for key in HELD_TO_OF_KERNELS
            if own[key] > WORSE * then[key]
        ]
    return sorted(found)


def missing() -> str:
    """Why nothing can be compiled here; nothing where it can."""
    if sys.version_info < (3, 12):
        return f"this is Python {sys.version_info.major}.{sys.version_info.minor}"
    with contextlib.suppress(ModuleNotFoundError):
        if importlib.util.find_spec("jax_plugins.xla_cuda13"):
            return "" if Path(tool("cuobjdump")).is_file() else "NVIDIA's cuobjdump is not installed"
    return "JAX's plugin for CUDA 13 is not installed"


def in_own_process(name: str, folder: Path) -> dict[str, Any]:
    flags = (
        f"--xla_dump_to={folder} --xla_dump_hlo_as_text --xla_dump_hlo_module_re=jit_advance.* --xla_gpu_dump_llvmir"
    )
    own = {
        "XLA_FLAGS": f"{flags} --xla_dump_emitter_re=^(ptx|llvm)$",
        "MOSAIC_GPU_DUMP_PTX": "1",
        "MOSAIC_GPU_DUMP_TO": str(folder),
        "MCDEV_COMPILATION_CACHE": "off",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    command = [sys.executable, __file__, "--part", name, "--folder", str(folder)]
    said = subprocess.run(command, env=os.environ | own, check=True, stdout=subprocess.PIPE, text=True).stdout
    about: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return about


def main(only: str, accept: bool) -> None:
    if why := missing():
        print(INSTALL.format(why=why))
        return
    from step_cost import machine

    before = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"programs": {}}
    programs, worse = dict(before["programs"]), []
    print(f"{'per call of 64 samples':34}{'lanes':>7}{'graphs':>7}{'loops':>6}{'read-':>6}{'kernels':>9}{'in an':>9}"
          f"{'instr.':>7}{'regis-':>7}{'spills':>7}{'bytes':>9}{'steps/s':>9}\n"
          f"{'':34}{'':>7}{'':>7}{'':>6}{'backs':>6}{'a sample':>9}{'interval':>9}"
          f"{'a step':>7}{'ters':>7}{'':>7}{'a step':>9}{'(est.)':>9}")  # fmt: skip
    for name, program in PROGRAMS.items():
        if not name.startswith(only):
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = count(program, Path(folder), in_own_process(name, Path(folder)))
        worse += risen(name, found, before["programs"].get(name, {}))
        programs[name] = found
        most = {key: max((k[key] for k in found["kernels"].values()), default=0) for key in HELD_TO_OF_KERNELS}
        step = found.get("instructions_per_step")
        print(
            f"{name:34}{found['lanes']:7}{found['graphs']:7}{found['loops']:6}{found['read_backs']:6}"
            f"{found['kernels_per_sample']:9}{found['nodes_per_interval']:9}{f'{step:.1f}' if step else '':>7}"
            f"{most['registers']:7}{most['spills']:7}{found['bytes_per_step']:9.2g}{found['steps_per_second']:9.1e}",
            flush=True,
        )
    print("kernels that are launched in a sample, loops counted once; registers and spills: the most of any of them")
    if worse and not accept:
        sys.exit("counts have risen by more than a tenth:\n" + "\n".join(worse))
    RESULTS.write_text(json.dumps({"machine": machine(), "programs": programs}, indent=1) + "\n", encoding="utf-8")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="programs whose names begin with this")
    parser.add_argument("--accept", action="store_true", help="write the results though counts have risen")
    parser.add_argument("--part", help="compile one, in this process")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.part:
        print(json.dumps(compile_one(PROGRAMS[asked.part], asked.folder)))
    else:
        main(asked.only, asked.accept)

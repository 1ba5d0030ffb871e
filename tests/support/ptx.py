"""An emulator of PTX: what NVRTC made for a device runs here, word by word, with the flag that carries live in.

Each instruction becomes a statement of C++ that says what the PTX manual says of it, so that whole kernels run in
seconds. An instruction that is not known, or one that takes a carry that its own block did not leave, is refused.
Threads of a block run one after the other, from barrier to barrier; blocks run one after the other.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from support.cuda import Call

_TYPE = {"b8": "u8", "u8": "u8", "s8": "i8", "pred": "bool"} | {
    f"{kind}{size}": f"{'i' if kind == 's' else 'u'}{size}" for kind in "bus" for size in (16, 32, 64)
}
_WIDE = {"u16": "u32", "i16": "i32", "u32": "u64", "i32": "i64", "u64": "unsigned __int128", "i64": "__int128"}
_COMPARED = {
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "lo": "<",
    "ls": "<=",
    "hi": ">",
    "hs": ">=",
}
_INFIX = {"add": "+", "sub": "-", "and": "&", "or": "|", "xor": "^", "div": "/", "rem": "%"}
_SPECIAL = {"%tid.x": "TID", "%ntid.x": "NTID", "%ctaid.x": "CTAID", "%nctaid.x": "NCTAID"}
_PRELUDE = """
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <ucontext.h>
#include <vector>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
typedef int8_t i8; typedef int16_t i16; typedef int32_t i32; typedef int64_t i64;
static u32 TID, NTID, CTAID, NCTAID;
alignas(16) static u8 SHARED[1 << 17];
template <class T> static inline T get(const void *from) { T value; memcpy(&value, from, sizeof value); return value; }
template <class T> static inline void put(void *to, T value) { memcpy(to, &value, sizeof value); }
struct Lane { ucontext_t context; std::vector<char> stack; bool is_done; };
static std::vector<Lane> lanes;
static ucontext_t scheduler;
static u32 running;
static void (*body)(const u64 *);
static const u64 *body_arguments;
static void barrier() { u32 me = running; swapcontext(&lanes[me].context, &scheduler); TID = me; }
static void enter() { body(body_arguments); lanes[running].is_done = true; }
static void run(void (*kernel)(const u64 *), bool waits, u32 blocks, u32 threads, const u64 *arguments) {
    NTID = threads; NCTAID = blocks; body = kernel; body_arguments = arguments;
    for (CTAID = 0; CTAID < blocks; CTAID++) {
        memset(SHARED, 0xA5, sizeof SHARED);
        if (!waits) { for (TID = threads; TID-- > 0;) kernel(arguments); continue; }
        if (lanes.size() < threads) lanes.resize(threads);
        for (u32 at = 0; at < threads; at++) {
            Lane &lane = lanes[at];
            lane.stack.resize(1 << 16); lane.is_done = false;
            getcontext(&lane.context);
            lane.context.uc_stack.ss_sp = lane.stack.data(); lane.context.uc_stack.ss_size = lane.stack.size();
            lane.context.uc_link = &scheduler;
            makecontext(&lane.context, enter, 0);
        }
        for (bool is_done = false; !is_done;) {
            is_done = true;
            for (running = threads; running-- > 0;) {
                if (lanes[running].is_done) continue;
                TID = running;
                swapcontext(&scheduler, &lanes[running].context);
                is_done = is_done && lanes[running].is_done;
            }
        }
    }
}
"""


class Unknown(Exception):
    """PTX that this emulator does not know, or that no device would carry out as meant."""


def load(ptx: str, kernels: Iterable[str]) -> Call:
    """The named kernels of a module, ready to be run."""
    text = _translate(ptx, set(kernels))
    with tempfile.TemporaryDirectory(prefix="theblock-ptx-") as folder:
        source, made = Path(folder) / "ptx.cpp", Path(folder) / "ptx.so"
        source.write_text(text)
        words = ["g++", "-std=c++17", "-O0", "-w", "-fno-strict-aliasing", "-fPIC", "-shared", str(source)]
        subprocess.run([*words, "-o", str(made)], check=True, timeout=600)
        opened = ctypes.CDLL(str(made))

    def call(name: str, blocks: int, threads: int, arguments: list[int]) -> None:
        getattr(opened, f"run_{name}")(blocks, threads, (ctypes.c_uint64 * len(arguments))(*arguments))

    return call


_FUNCTION = re.compile(
    r"^(?:\.visible\s+)?\.(?P<kind>entry|func)\s*(?:\(\.param[^)]*?(?P<result>\w+)\[(?P<size>\d+)\]\))?\s*"
    r"(?P<name>\w+)\s*\((?P<params>[^)]*)\)(?P<bounds>[^{;]*)\{(?P<body>.*?)^\}",
    re.MULTILINE | re.DOTALL,
)
_GLOBAL = re.compile(r"^\.global \.align (\d+) \.(\w+) (\w+)(?:\[(\d+)\])?(?: = (.*?))?;", re.MULTILINE)
_SHARED = re.compile(r"\.shared \.align (\d+) \.b8 (\w+)\[(\d+)\];")


def _translate(ptx: str, kernels: set[str]) -> str:
    ptx = re.sub(r"//.*", "", ptx)
    found = {each["name"]: each for each in _FUNCTION.finditer(ptx)}
    wanted, queue = [], sorted(kernels)
    while queue:
        name = queue.pop()
        if name not in wanted:
            wanted.append(name)
            queue += re.findall(r"call\.uni\s*(?:\(\w+\),\s*)?(\w+)", found[name]["body"])
    parts = [_PRELUDE]
    for align, kind, name, _count, value in _GLOBAL.findall(ptx):
        data = value if value.startswith("{") else "{" + (value or "0") + "}"
        parts.append(f"alignas({align}) static const {_TYPE[kind]} {name}[] = {data};")
    at = 0
    for align, name, size in _SHARED.findall(ptx):
        at = -(-at // int(align)) * int(align)
        parts.append(f"enum {{ {name} = {at} }};")
        at += int(size)
    if at > 1 << 17:
        raise Unknown(f"{at} bytes of shared memory")
    for name in wanted:
        if found[name]["kind"] == "func":
            parts.append(_head(found[name]) + ";")
    for name in wanted:
        parts.append(_head(found[name]) + _body(found[name]))
        if found[name]["kind"] == "entry":
            waits = "true" if "bar.sync" in found[name]["body"] else "false"
            parts.append(
                f'extern "C" void run_{name}(u32 blocks, u32 threads, const u64 *arguments) '
                f"{{ run({name}, {waits}, blocks, threads, arguments); }}"
            )
    return "\n".join(parts)


def _params(function: re.Match[str]) -> list[str]:
    return re.findall(r"(\w+)(?:\[\d+\])?\s*(?:,|$)", function["params"].strip())


def _head(function: re.Match[str]) -> str:
    if function["kind"] == "entry":
        return f"static void {function['name']}(const u64 *arguments)"
    names = [function["result"]] if function["result"] else []
    return f"static void {function['name']}({', '.join(f'u8 *{each}' for each in names + _params(function))})"


def _body(function: re.Match[str]) -> str:
    lines = ["{ u32 CC = 0; u64 WIDE = 0;"]
    if function["kind"] == "entry":
        lines += [f"const u8 *{name} = (const u8 *)&arguments[{at}];" for at, name in enumerate(_params(function))]
    carries = False
    text = _SHARED.sub("", function["body"])
    for token in re.findall(r"\{[^{};]*\}[^;{}]*;|[{}]|[$\w]+:|[^;{}:]*\{[^{};]*\}[^;{}]*;|[^;{}:]+;", text):
        token = " ".join(token.split())
        if token in ("{", "}"):
            lines.append(token)
            carries = False
        elif token.endswith(":"):
            lines.append(_label(token[:-1]) + ":;")
            carries = False
        elif token.startswith("."):
            lines.append(_declare(token[:-1]))
        elif token != ";":
            line, takes, leaves = _statement(token[:-1].strip())
            if takes and not carries:
                raise Unknown(f"{token} takes a carry that nothing left")
            carries = leaves or (carries and not takes)
            lines.append(line)
    return "\n".join([*lines, "}"])


def _label(name: str) -> str:
    return name.replace("$", "L")


def _declare(text: str) -> str:
    if found := re.fullmatch(r"\.reg \.(\w+) (.+)", text):
        names = []
        for each in found[2].split(","):
            each = each.strip()
            if many := re.fullmatch(r"(%?\w+)<(\d+)>", each):
                names += [_register(f"{many[1]}{at}") for at in range(int(many[2]))]
            else:
                names.append(_register(each))
        return f"{_TYPE[found[1]]} {', '.join(names)};"
    if found := re.fullmatch(r"\.(?:param|local) \.align (\d+) \.b8 (\w+)\[(\d+)\]", text):
        return f"alignas({found[1]}) u8 {found[2]}[{found[3]}];"
    if found := re.fullmatch(r"\.param \.[bus](\d+) (\w+)", text):
        return f"alignas(8) u8 {found[2]}[{int(found[1]) // 8}];"
    if text.startswith((".pragma", ".loc")):
        return ""
    raise Unknown(text)


def _register(name: str) -> str:
    return _SPECIAL.get(name) or name.replace("%", "R_").replace(".", "_")


def _value(operand: str, kind: str) -> str:
    """An operand read as a type; names of arrays are their addresses."""
    if re.fullmatch(r"-?\d+|0x[0-9a-fA-F]+", operand):
        return f"(({kind}){operand}{'ULL' if not operand.startswith('-') else 'LL'})"
    return f"({kind})({_register(operand)})"


def _address(operand: str, space: str) -> str:
    found = re.fullmatch(r"\[([%\w.]+)(?:\+(-?\d+))?\]", operand)
    if not found:
        raise Unknown(operand)
    base = _register(found[1])
    offset = found[2] or "0"
    if space == "shared":
        return f"(SHARED + (u32)({base}) + {offset})"
    return f"((char *)({base}) + {offset})"


def _statement(text: str) -> tuple[str, bool, bool]:
    """The C++ of one instruction; whether it takes a carry, and whether it leaves one."""
    guard = ""
    if found := re.fullmatch(r"@(!?)(%?\w+) (.*)", text):
        guard, text = f"if ({found[1]}{_register(found[2])}) ", found[3]
    name, _, rest = text.partition(" ")
    operands = [each.strip() for each in re.findall(r"\{[^}]*\}|\([^)]*\)|\[[^\]]*\]|[^,\s][^,]*", rest)]
    parts = name.split(".")
    line = _instruction(parts, operands, text)
    leaves = "cc" in parts
    takes = parts[0] in ("addc", "subc", "madc")
    return f"{guard}{{ {line} }}", takes, leaves


def _instruction(parts: list[str], operands: list[str], text: str) -> str:
    base, kind = parts[0], parts[-1]
    if base == "ret":
        return "return;"
    if base == "bra":
        return f"goto {_label(operands[0])};"
    if base == "bar" and parts[1] == "sync":
        return "barrier();"
    if base == "call":
        results, name, given = ([*operands, "()"])[:3] if operands[0].startswith("(") else ("()", *operands[:2])
        passed = [each.strip() for each in (results[1:-1] + "," + given[1:-1]).split(",") if each.strip()]
        return f"{name}({', '.join(passed)});"
    if kind not in _TYPE:
        raise Unknown(text)
    of = _TYPE[kind]
    if base in ("ld", "st"):
        return _move(base, parts, operands, of)
    to = _register(operands[0])
    if base == "mov" and operands[0].startswith("{"):
        low, high = (_register(each.strip()) for each in operands[0][1:-1].split(","))
        return f"u64 both = {_value(operands[1], 'u64')}; {low} = (u32)both; {high} = (u32)(both >> 32);"
    if base == "mov" and operands[1].startswith("{"):
        low, high = (_value(each.strip(), "u32") for each in operands[1][1:-1].split(","))
        return f"{to} = {low} | (u64){high} << 32;"
    if base == "atom" and parts[1:3] == ["global", "add"]:
        at = _address(operands[1], "global")
        return f"{of} before = get<{of}>({at}); put<{of}>({at}, before + {_value(operands[2], of)}); {to} = before;"
    a, b, c = ([_value(each, of) for each in operands[1:4]] + ["", "", ""])[:3]
    if base in ("add", "addc", "sub", "subc", "mad", "madc") and (kind == "u32" and ("cc" in parts or base[-1] == "c")):
        return _carried(base, parts, to, a, b, c)
    if base == "cvt":
        return f"{to} = ({_TYPE[parts[-2]]}){_value(operands[1], of)};"
    if base in ("mov", "cvta"):
        return f"{to} = ({of}){_register(operands[1]) if not operands[1].lstrip('-')[:1].isdigit() else operands[1]};"
    if base == "setp" and len(parts) == 3:
        return f"{to} = {a} {_COMPARED[parts[1]]} {b};"
    if base == "selp":
        return f"{to} = {_register(operands[3])} ? {a} : {b};"
    if base in _INFIX and len(parts) == 2:
        return f"{to} = {a} {_INFIX[base]} {b};"
    if base == "mul" and parts[1] == "wide":
        return f"{to} = ({_WIDE[of]}){a} * ({_WIDE[of]}){b};"
    if base in ("mul", "mad") and parts[1] in ("lo", "hi", "wide") and len(parts) == 3:
        wide = f"({_WIDE[of]}){a} * ({_WIDE[of]}){b}"
        size = of.lstrip("ui")
        product = f"({of})(({wide}) >> {size})" if parts[1] == "hi" else f"({of})({wide})"
        if parts[1] == "wide":
            return f"{to} = {wide} + {_value(operands[3], _WIDE[of])};"
        return f"{to} = {product}" + (f" + {c};" if base == "mad" else ";")
    if base in ("shl", "shr"):
        by = _value(operands[2], "u32")
        size = of.lstrip("ui")
        past = f"({a} < 0 ? -1 : 0)" if of[0] == "i" else "0"
        return f"{to} = {by} >= {size} ? {past} : ({of})({a} {'<<' if base == 'shl' else '>>'} {by});"
    if base == "bfi":
        at, length = (_value(each, "u32") for each in operands[3:5])
        mask = f"(({length} >= 64 ? 0 : (u64)1 << {length}) - 1) << {at}"
        return f"u64 mask = {mask}; {to} = ({of})(((u64){b} & ~mask) | ((u64){a} << {at} & mask));"
    if base in ("min", "max"):
        return f"{to} = std::{base}({a}, {b});"
    if base == "not":
        return f"{to} = {'!' if kind == 'pred' else '~'}{a};"
    if base == "neg":
        return f"{to} = -{a};"
    if base == "abs":
        return f"{to} = {a} < 0 ? -{a} : {a};"
    raise Unknown(text)


def _carried(base: str, parts: list[str], to: str, a: str, b: str, c: str) -> str:
    """Sums, differences and products that leave or take the flag: CC holds 0 or 1."""
    carry = " + CC" if base[-1] == "c" else ""
    if base in ("add", "addc"):
        wide = f"(u64){a} + {b}{carry}"
    elif base in ("sub", "subc"):
        wide = f"(u64){a} - {b}{carry.replace('+', '-')}"
    else:
        half = f"(u64){a} * {b}"
        wide = f"(u64)(u32)({half}{' >> 32' if parts[1] == 'hi' else ''}) + {c}{carry}"
    leave = "CC = WIDE >> 32 & 1; " if "cc" in parts else ""
    return f"WIDE = {wide}; {leave}{to} = (u32)WIDE;"


def _move(base: str, parts: list[str], operands: list[str], of: str) -> str:
    space = next((each for each in parts[1:] if each in ("global", "local", "shared", "param")), "generic")
    address, registers = operands if base == "st" else operands[::-1]
    names = [each.strip() for each in registers.strip("{}").split(",")]
    at, size = _address(address, space), int(of[1:]) // 8
    moves = []
    for place, each in enumerate(names):
        if base == "ld":
            moves.append(f"{_register(each)} = get<{of}>({at} + {place * size});")
        else:
            moves.append(f"put<{of}>({at} + {place * size}, {_value(each, of)});")
    return " ".join(moves)

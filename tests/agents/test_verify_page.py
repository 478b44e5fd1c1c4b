"""The verifiers of docs/agents/verify.md, each run in its own language against the same cases."""

import runpy
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from agent_sdk import verify_webhook_signature
from agents import wire

from .conftest import SECRET, make_message
from .languages import node, run, sample, tool
from .receiver import Receiver

PAGE = "agents/verify.md"


def case(*, secret: str = SECRET, age: int = 0, after: str = "", **headers: str) -> dict[str, Any]:
    """Return a delivery with what was changed about it; ``after`` is added to the body."""
    message = make_message()
    body = wire.body(message)
    signed = wire.headers(
        secret=SECRET,
        agent_id=message.event_id,
        delivery_id=message.id,
        body=body,
        timestamp=int(time.time()) - age,
    )
    given = {**signed, **{f"X-Hashee-{name}": value for name, value in headers.items()}}
    return {"secret": secret, "headers": given, "body": body.decode() + after}


# Ages leave room for a compiler at work.
def cases() -> dict[str, tuple[dict[str, Any], bool]]:
    return {
        "as sent": (case(), True),
        "rather old": (case(age=200), True),
        "from a clock that is ahead": (case(age=-200), True),
        "another secret": (case(secret="another-secret-another-secret-xx"), False),
        "an altered body": (case(after=" "), False),
        "old": (case(age=400), False),
        "from the future": (case(age=-400), False),
        "another timestamp": (case(Timestamp=str(int(time.time()) - 1)), False),
        "another id": (case(**{"Delivery-Id": "another"}), False),
        "no timestamp": (case(Timestamp=""), False),
        "a word as timestamp": (case(Timestamp="soon"), False),
        "a huge timestamp": (case(Timestamp="9" * 40), False),
        "no id": (case(**{"Delivery-Id": ""}), False),
        "no signature": (case(Signature=""), False),
        "a short signature": (case(Signature="abcd"), False),
        "a signature that is no hex": (case(Signature="z" * 64), False),
        "an odd signature": (case(Signature="a" * 63), False),
    }


def python(folder: Path, asked: list[dict[str, Any]]) -> Any:
    (folder / "verify.py").write_text(sample(PAGE, "python"))
    verify = runpy.run_path(str(folder / "verify.py"))["verify"]
    return [verify(one["secret"], one["headers"], one["body"].encode()) for one in asked]


def typescript(folder: Path, asked: list[dict[str, Any]]) -> Any:
    (folder / "verify.ts").write_text(sample(PAGE, "ts"))
    (folder / "main.mjs").write_text("""
        import { readFileSync } from "node:fs";
        import { verify } from "./verify.ts";
        const utf8 = new TextEncoder();
        const judged = JSON.parse(readFileSync(0, "utf8")).map((one) =>
            verify(one.secret, new Headers(one.headers), utf8.encode(one.body)));
        console.log(JSON.stringify(judged));
    """)
    return run([node(), "main.mjs"], asked, folder)


def go(folder: Path, asked: list[dict[str, Any]]) -> Any:
    (folder / "go.mod").write_text("module verify\n\ngo 1.19\n")
    (folder / "verify.go").write_text(sample(PAGE, "go"))
    (folder / "main.go").write_text("""
package main

import (
	"encoding/json"
	"net/http"
	"os"
)

func main() {
	var asked []struct {
		Secret  string
		Headers map[string]string
		Body    string
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		panic(err)
	}
	judged := []bool{}
	for _, one := range asked {
		header := http.Header{}
		for name, value := range one.Headers {
			header.Set(name, value)
		}
		judged = append(judged, Verify(one.Secret, header, []byte(one.Body)))
	}
	json.NewEncoder(os.Stdout).Encode(judged)
}
""")
    return run([tool("go"), "run", "."], asked, folder, GOFLAGS="-mod=mod", GOPROXY="off")


def php(folder: Path, asked: list[dict[str, Any]]) -> Any:
    (folder / "verify.php").write_text(sample(PAGE, "php"))
    (folder / "main.php").write_text("""<?php
        require 'verify.php';
        $judge = fn($one) => verify($one['secret'], $one['headers'], $one['body']);
        $asked = json_decode(file_get_contents('php://stdin'), true);
        echo json_encode(array_map($judge, $asked));
    """)
    return run([tool("php"), "main.php"], asked, folder)


def rust(folder: Path, asked: list[dict[str, Any]]) -> Any:
    (folder / "src").mkdir()
    (folder / "src/verify.rs").write_text(sample(PAGE, "rust"))
    # A case a line, in hex, as there is no JSON in the standard library.
    (folder / "src/main.rs").write_text("""
mod verify;

fn main() {
    let mut judged = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let line = line.trim().trim_matches('"').to_string();
        let text = |part: &str| String::from_utf8(hex::decode(part).unwrap()).unwrap();
        for case in line.split('|') {
            let parts: Vec<String> = case.split(',').map(text).collect();
            let [secret, timestamp, id, signature, body] = &parts[..] else { panic!() };
            judged.push(verify::verify(secret, timestamp, id, signature, body.as_bytes()));
        }
    }
    println!("{judged:?}");
}
""")
    (folder / "Cargo.toml").write_text(
        '[package]\nname = "verify"\nversion = "0.1.0"\nedition = "2021"\n\n'
        '[dependencies]\nhmac = "0.12"\nsha2 = "0.10"\nhex = "0.4"\n'
    )
    build = [tool("cargo"), "build", "--offline", "--quiet"]
    built = subprocess.run(build, cwd=folder, capture_output=True, text=True)
    if "no matching package" in built.stderr or "offline" in built.stderr:
        pytest.skip("the crates hmac, sha2 and hex are not on this machine")
    assert built.returncode == 0, built.stderr
    names = ("Timestamp", "Delivery-Id", "Signature")
    lines = [
        [one["secret"], *(one["headers"][f"X-Hashee-{name}"] for name in names), one["body"]]
        for one in asked
    ]
    joined = "|".join(",".join(part.encode().hex() for part in line) for line in lines)
    return run([str(folder / "target/debug/verify")], joined, folder)


@pytest.mark.parametrize("judge", [python, typescript, go, php, rust])
def test_it_accepts_what_the_gateway_signs_and_nothing_else(
    judge: Callable[[Path, list[dict[str, Any]]], Any], tmp_path: Path
) -> None:
    asked = cases()
    judged = judge(tmp_path, [one for one, _expected in asked.values()])
    assert dict(zip(asked, judged, strict=True)) == {
        name: expected for name, (_one, expected) in asked.items()
    }


def test_what_the_shell_signs_and_posts_verifies(receiver: Receiver) -> None:
    for name in ("openssl", "curl"):
        tool(name)
    script = sample(PAGE, "sh").replace("http://localhost:9000/", receiver.url)
    if shutil.which("uuidgen") is None:
        script = script.replace("$(uuidgen)", str(uuid4()))
    subprocess.run(["sh", "-ec", script], check=True, capture_output=True)
    [got] = receiver.requests
    assert verify_webhook_signature("your-webhook-secret", got.headers, got.body)

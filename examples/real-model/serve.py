"""Serves one GGUF model with llama.cpp on loopback until SIGTERM or Ctrl-C: serve.py MODEL PORT."""

import os
import signal
import sys
import threading
import urllib.error
import urllib.request

import xllamacpp

READY_WAIT_S = 120


def is_ready(url):
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def main():
    model, port = sys.argv[1], int(sys.argv[2])
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())

    params = xllamacpp.CommonParams()
    params.model.path = model
    # Without an alias the server reports the model's path as its name.
    params.model_alias = {"smollm2-135m"}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_ctx = 4096
    params.n_parallel = 2
    params.cpuparams.n_threads = min(2, os.cpu_count() or 1)
    server = xllamacpp.Server(params)

    for _ in range(READY_WAIT_S * 5):
        if is_ready(f"http://127.0.0.1:{port}/health"):
            print(f"ready: smollm2-135m at http://127.0.0.1:{port}/v1/", flush=True)
            break
        if stop.wait(0.2):
            break
    else:
        sys.exit(f"the server did not become ready within {READY_WAIT_S} s")
    stop.wait()
    del server
    print("stopped", flush=True)
    # llama.cpp's own threads can outlive the interpreter's wish to end; nothing here is left to save.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

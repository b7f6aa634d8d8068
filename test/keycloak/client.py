"""AgentCube's published Python client, through Envoy. Prints one JSON object: what it saw.

client.py with-token|without-token

WORKLOAD_MANAGER_URL and ROUTER_URL are read by the client itself, REQUESTS_CA_BUNDLE by its HTTP library;
AGENTCUBE_TOKEN is the caller's access token.
"""

import json
import os
import sys
import tempfile

import requests
from agentcube import CodeInterpreterClient
from agentcube.clients import AgentRuntimeDataPlaneClient, CodeInterpreterDataPlaneClient


def agent_runtime():
    return AgentRuntimeDataPlaneClient(os.environ["ROUTER_URL"], namespace="default", agent_name="my-agent")


def with_token(token):
    bearer = f"Bearer {token}"
    seen = {}
    with CodeInterpreterClient(name="my-interpreter", auth_token=token) as interpreter:
        interpreter.dp_client.session.headers["Authorization"] = bearer
        seen["session"] = interpreter.session_id
        seen["command"] = interpreter.execute_command("echo hello from the sandbox")
        seen["code"] = interpreter.run_code("python", "print('hello')")
        interpreter.write_file("42", "value.txt")
        with tempfile.TemporaryDirectory() as folder:
            upload = os.path.join(folder, "upload.txt")
            with open(upload, "w", encoding="utf-8") as file:
                file.write("uploaded")
            interpreter.upload_file(upload, "notes/upload.txt")
            download = os.path.join(folder, "download.txt")
            interpreter.download_file("notes/upload.txt", download)
            with open(download, encoding="utf-8") as file:
                seen["downloaded"] = file.read()
        seen["files"] = [file["name"] for file in interpreter.list_files()]
    runtime = agent_runtime()
    runtime.session.headers["Authorization"] = bearer
    seen["agent_session"] = runtime.bootstrap_session_id()
    seen["agent"] = runtime.invoke(seen["agent_session"], {"prompt": "hello"}).json()
    runtime.close()
    return seen


def status_of(call):
    try:
        call()
        return "no error"
    except requests.exceptions.HTTPError as error:
        return error.response.status_code


def without_token():
    data_plane = CodeInterpreterDataPlaneClient(
        session_id="s1", router_url=os.environ["ROUTER_URL"], namespace="default", cr_name="my-interpreter"
    )
    return {
        "create": status_of(CodeInterpreterClient),
        "execute": status_of(lambda: data_plane.execute_command("echo hello")),
        "list": status_of(data_plane.list_files),
        "bootstrap": status_of(lambda: agent_runtime().bootstrap_session_id()),
        "invoke": agent_runtime().invoke("s1", {"prompt": "hello"}).status_code,
    }


if __name__ == "__main__":
    result = with_token(os.environ["AGENTCUBE_TOKEN"]) if sys.argv[1] == "with-token" else without_token()
    json.dump(result, sys.stdout)

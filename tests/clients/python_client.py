"""A client as its users write it: python_client.py TARGET, with the generated modules on the path."""

import json
import sys

import grpc
from google.protobuf.json_format import MessageToDict
from rungate.v1 import pipeline_pb2, pipeline_pb2_grpc

NOBODY = "run_01890000-0000-7000-8000-000000000000"


def describe(call):
    try:
        for _ in call():
            pass
    except grpc.RpcError as error:
        return {"code": error.code().name, "message": error.details()}
    return None


def main(target):
    with grpc.insecure_channel(target) as channel:
        stub = pipeline_pb2_grpc.PipelineServiceStub(channel)
        init, call = stub.InitRun.with_call(pipeline_pb2.InitRunRequest(user_id="python"))
        cookie = dict(call.initial_metadata())["set-cookie"].split(";")[0]
        for _ in stub.WatchRun(pipeline_pb2.WatchRunRequest(run_id=init.bootstrap_run_id)):
            pass
        # No session id: the cookie names the session.
        request = pipeline_pb2.StartRunRequest(pipeline_id="test_pipeline")
        started = stub.StartRun(request, metadata=[("cookie", cookie)])
        events = []
        watch = stub.WatchRun(pipeline_pb2.WatchRunRequest(run_id=started.run_id))
        for event in watch:
            events.append(event)
            if len(events) == 4:
                watch.cancel()
                break
        request = pipeline_pb2.WatchRunRequest(run_id=started.run_id, after=events[-1].cursor)
        events.extend(stub.WatchRun(request))
        run = stub.GetRun(pipeline_pb2.GetRunRequest(run_id=started.run_id)).run
        request = pipeline_pb2.StartRunRequest(session_id=init.session_id, pipeline_id="linger")
        lingering = stub.StartRun(request).run_id
        answer = {
            "runId": started.run_id,
            "events": [MessageToDict(it) for it in events],
            "state": pipeline_pb2.RunState.Name(run.state),
            "error": describe(lambda: [stub.GetRun(pipeline_pb2.GetRunRequest(run_id=NOBODY))]),
            "streamError": describe(lambda: stub.WatchRun(pipeline_pb2.WatchRunRequest(run_id=NOBODY))),
            "late": describe(lambda: stub.WatchRun(pipeline_pb2.WatchRunRequest(run_id=lingering), timeout=0.7)),
        }
        stub.CancelRun(pipeline_pb2.CancelRunRequest(run_id=lingering))
    print(json.dumps(answer))


main(sys.argv[1])

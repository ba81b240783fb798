"""The Materials Project's own API code on loopback, with crystals of the AFLOW library as its materials.

emmet-api's routes serve SummaryDocs that emmet-core builds; mongomock stands for the database, behind the few async
calls that emmet-api makes. Runs in an environment of its own: emmet-api, emmet-core, mongomock, uvicorn.

    python mp_server.py PORT --count 40
    curl "http://127.0.0.1:PORT/gate?fault=500:0.1,429:0.1,cut:0.1&delay=0.2"   # 'cut' cuts the JSON off
"""

import argparse
import asyncio
import datetime
import json
import os
import random
import warnings

warnings.simplefilter("ignore")
os.environ.setdefault("DD_TRACE_ENABLED", "false")

VERSION = "2025.02.12.post"
KEY = "k" * 32
KEY_NON_COMMERCIAL = "n" * 32  # of an account that has accepted the terms for non-commercial use
DEPRECATED, NON_COMMERCIAL = 3, 4  # numbers of the documents that are so


class Cursor:
    """What pymongo's aggregate gives."""

    def __init__(self, rows):
        self.rows = rows

    async def to_list(self, length=None):
        return self.rows


class AsyncCollection:
    """What emmet-api asks of a pymongo AsyncCollection. Structures stay outside mongomock, which copies deeply."""

    def __init__(self, collection, documents):
        self.collection = collection
        self.documents = {d["material_id"]: d for d in documents}

    async def count_documents(self, criteria, **_):
        return self.collection.count_documents(criteria)

    async def estimated_document_count(self, **_):
        return self.collection.estimated_document_count()

    async def aggregate(self, pipeline, **_):
        wanted = {k.split(".")[0] for stage in pipeline for k, v in stage.get("$project", {}).items() if v}
        stages = [stage for stage in pipeline if "$project" not in stage]
        ids = [d["material_id"] for d in self.collection.aggregate([*stages, {"$project": {"material_id": 1}}])]
        return Cursor([{k: v for k, v in self.documents[i].items() if not wanted or k in wanted} for i in ids])


def build_documents(count):
    """Summary documents of the library's first crystals; they have letters for numbers, as the real database has."""
    from emmet.core.base import EmmetMeta
    from emmet.core.mpid import AlphaID
    from emmet.core.summary import HasProps, SummaryDoc
    from emmet.core.types.typing import ID_PADLEN
    from pymatgen.analysis.prototypes import AFLOW_PROTOTYPE_LIBRARY

    small = [e["snl"].structure for e in AFLOW_PROTOTYPE_LIBRARY if len(e["snl"].structure) <= 6]
    now = datetime.datetime.now(datetime.UTC)
    documents = []
    for number, structure in enumerate(small[:count], start=1):
        id = str(AlphaID(number, prefix="mp", padlen=ID_PADLEN))
        meta = EmmetMeta(
            license="BY-NC" if number == NON_COMMERCIAL else "BY-C",
            build_date=now,
            database_version=os.environ["MAPI_DB_VERSION"],
            batch_id="gnome_r2scan_statics" if number == NON_COMMERCIAL else None,
        )
        document = SummaryDoc.from_structure(
            meta_structure=structure,
            material_id=id,
            deprecated=number == DEPRECATED,
            theoretical=False,
            last_updated=now,
            origins=[],
            warnings=[],
            has_props={p.value: p is HasProps.materials for p in HasProps},
            builder_meta=meta,
        )
        documents.append({**json.loads(document.model_dump_json()), "material_id": id})
    return documents


class Gate:
    """What stands between the API and its clients; tests set it through /gate and ask /served what went out."""

    def __init__(self):
        self.faults = []
        self.delay = 0.0
        self.version = os.environ["MAPI_DB_VERSION"]
        self.served = []
        self.rng = random.Random(1)

    def set(self, fault="", delay="0", version=None):
        self.faults = [(name, float(share)) for name, share in (f.split(":") for f in fault.split(",") if f)]
        self.delay = float(delay)
        self.version = version or os.environ["MAPI_DB_VERSION"]
        self.served = []
        self.rng = random.Random(1)

    def fault(self):
        draw = self.rng.random()
        for name, share in self.faults:
            if draw < share:
                return name
            draw -= share
        return ""


def make_app(documents):
    """The API behind a gate that checks the key, waits, injects faults and notes which structures went out."""
    import mongomock
    from emmet.api.core.api import MAPI
    from emmet.api.resource.utils import CollectionWithKey
    from emmet.api.routes.materials.materials.resources import materials_resource
    from emmet.api.routes.materials.summary.resources import summary_resource
    from starlette.responses import JSONResponse, Response

    collection = mongomock.MongoClient()["mp_core"]["summary"]
    collection.insert_many([{k: v for k, v in d.items() if k != "structure"} for d in documents])
    store = CollectionWithKey(AsyncCollection(collection, documents), "material_id")
    app = MAPI(resources={"materials": [materials_resource(store), summary_resource(store)]}).app
    gate = Gate()

    @app.middleware("http")
    async def guard(request, call_next):
        path = request.url.path
        if path == "/gate":
            gate.set(**request.query_params)
            return JSONResponse({})
        if path == "/served":
            return JSONResponse(gate.served)
        # plain bodies, which can be looked into and cut off
        request.scope["headers"] = [h for h in request.scope["headers"] if h[0] != b"accept-encoding"]
        fault = ""
        if path.startswith("/materials"):
            key = request.headers.get("x-api-key")
            if key not in (KEY, KEY_NON_COMMERCIAL):
                return JSONResponse({"detail": "Invalid authentication credentials"}, 401)
            if key == KEY_NON_COMMERCIAL:
                request.scope["headers"].append((b"x-authenticated-groups", b"TERMS:ACCEPT-NC"))
            await asyncio.sleep(gate.delay)
            fault = gate.fault()
            if fault not in ("", "cut"):
                headers = {"Retry-After": "1"} if fault == "429" else None
                return JSONResponse({"detail": f"injected {fault}"}, int(fault), headers)
        response = await call_next(request)
        body = b"".join([part async for part in response.body_iterator])
        if path == "/heartbeat":
            body = json.dumps(json.loads(body) | {"db_version": gate.version}).encode()
        if "structure" in request.query_params.get("_fields", "") and not fault:
            gate.served.append([d["material_id"] for d in json.loads(body)["data"]])
        body = body[: len(body) // 2] if fault == "cut" else body
        return Response(body, response.status_code, media_type="application/json")

    return app


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("--count", type=int, default=40, help="documents")
    args = parser.parse_args()
    os.environ["MAPI_DB_VERSION"] = VERSION
    import uvicorn

    uvicorn.run(make_app(build_documents(args.count)), host="127.0.0.1", port=args.port, log_level="error")


if __name__ == "__main__":
    main()

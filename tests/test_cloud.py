"""The cloud tasks: valid by the schemas of their tools, and the README's own command."""

import pathlib
import re
import string
import subprocess

import pytest
import yaml

from videogvt.core.processes import find_processes

ROOT = pathlib.Path(__file__).parents[1]
GIVEN = {"BUCKET": "my-bucket", "CONFIG": "configs/vqvae_traj.py:B", "HOSTS": "2"}

TEXT, WHOLE, YES = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}


def _object(required=(), **properties):
    return {"type": "object", "additionalProperties": False, "required": list(required), "properties": properties}


# The fields of the custom resource jobset.x-k8s.io/v1alpha2 (JobSet 0.8), without those of newer versions and with the
# job's template left to the schema of batch/v1.
JOBSET = _object(
    ("apiVersion", "kind", "metadata", "spec"), apiVersion={"const": "jobset.x-k8s.io/v1alpha2"},
    kind={"const": "JobSet"}, metadata={"type": "object", "required": ["name"]},
    spec=_object(
        ("replicatedJobs",),
        coordinator=_object(("replicatedJob",), replicatedJob=TEXT, jobIndex=WHOLE, podIndex=WHOLE),
        failurePolicy=_object(
            maxRestarts=WHOLE, restartStrategy={"enum": ["Recreate", "BlockingRecreate"]}, rules={"type": "array"}),
        network=_object(enableDNSHostnames=YES, publishNotReadyAddresses=YES, subdomain=TEXT),
        successPolicy={"type": "object"}, startupPolicy={"type": "object"}, suspend=YES, ttlSecondsAfterFinished=WHOLE,
        managedBy=TEXT,
        replicatedJobs={"type": "array", "items": _object(
            ("name", "template"), name=TEXT, replicas=WHOLE, groupName=TEXT, dependsOn={"type": "array"},
            template=_object(("spec",), metadata={"type": "object"}, spec={"type": "object"}),
        )},
    ),
)


@pytest.fixture(scope="module")
def task():
    return yaml.safe_load((ROOT / "cloud/skypilot.yaml").read_text())


@pytest.fixture(scope="module")
def jobset():
    return yaml.safe_load(string.Template((ROOT / "cloud/jobset.yaml").read_text()).safe_substitute(GIVEN))


@pytest.fixture(scope="module")
def job(jobset):
    return jobset["spec"]["replicatedJobs"][0]["template"]["spec"]


def main_command() -> list[str]:
    readme = (ROOT / "README.md").read_text()
    return re.search(r"<!-- main command -->\n```bash\n(.+)\n", readme)[1].split(" && ")


def test_the_jobset_is_valid(jobset, job):
    jsonschema = pytest.importorskip("jsonschema", reason="comes with kubernetes-validate, extra `cloud`")
    kubernetes = pytest.importorskip("kubernetes_validate", reason="extra `cloud`")
    jsonschema.validate(jobset, JOBSET)
    whole = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "hosts"}, "spec": job}
    kubernetes.validate(whole, kubernetes.latest_version(), strict=True)
    job["template"]["spec"]["containers"][0]["volumeMonts"] = []
    with pytest.raises(kubernetes.ValidationError, match="volumeMonts"):
        kubernetes.validate(whole, kubernetes.latest_version(), strict=True)
    del job["template"]["spec"]["containers"][0]["volumeMonts"]


def test_the_skypilot_task_is_valid(task):
    common = pytest.importorskip("sky.utils.common_utils", reason="needs skypilot")
    from sky.utils import schemas

    common.validate_schema(task, schemas.get_task_schema(), "task: ")
    common.validate_schema(task["resources"], schemas.get_resources_schema(), "resources: ")
    common.validate_schema(task["file_mounts"]["/bucket"], schemas.get_storage_schema(), "mount: ")
    with pytest.raises(ValueError, match="acelerators"):
        common.validate_schema({"acelerators": "H100"}, schemas.get_resources_schema(), "resources: ")


def test_they_run_the_readmes_command(task, job):
    """Install and run, the config and the accelerator's extra being all that differs."""
    install, run = main_command()
    for script in (task["setup"] + task["run"], *job["template"]["spec"]["containers"][0]["args"]):
        script = re.sub(r'"?\.(\[?\$\{?EXTRA\}?\]?|\$extra)"?( -c constraints\.txt)?', ".", script)
        assert install in script, script
        script = script.replace('"$CONFIG"', GIVEN["CONFIG"]).replace('"', "")
        assert run.replace("configs/vqvae_traj.py", GIVEN["CONFIG"]) in script
        assert "ln -sfn /bucket/runs runs" in script, "the run's default directory has to lie in the bucket"
        subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_what_they_name_exists(task):
    text = "".join(path.read_text() for path in (ROOT / "cloud").iterdir())
    named = set(re.findall(r"(?:configs|cloud|docs)/\w+\.\w+", text))
    assert len(named) >= 4 and all((ROOT / name).exists() for name in named), named
    assert (ROOT / task["workdir"]).exists() and "/runs/" in (ROOT / ".gitignore").read_text().split()


def test_the_hosts_of_the_jobset_find_each_other(jobset, job):
    container = job["template"]["spec"]["containers"][0]
    values = {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}
    assert job["completions"] == job["parallelism"] == int(values["JAX_NUM_PROCESSES"])
    where = jobset["spec"]["coordinator"]
    host = f"videogvt-{where['replicatedJob']}-{where['jobIndex']}-{where['podIndex']}.videogvt"
    for index in range(2):
        pod = {name: value.replace("$(COORDINATOR)", host) for name, value in values.items()}
        found = find_processes(environment={**pod, "JOB_COMPLETION_INDEX": str(index)})
        assert found[:3] == (f"{host}:{container['ports'][0]['containerPort']}", 2, index)

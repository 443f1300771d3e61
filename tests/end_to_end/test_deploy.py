"""The files in serve/deploy: valid for Kubernetes and haproxy, true to the server, and of one piece."""

import json
import re
import subprocess

import httpx
import pytest
from deployed import DEPLOY, KUBERNETES, all_pods, built, loaded, one
from replicas import skip_without_haproxy
from serving import DOCUMENTS, QUERY, counts

from late_rerank.cli.environment import read_environment
from late_rerank.cli.main import parser
from late_rerank.serve.limits import Limits

validate = pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate: pip install kubernetes-validate")

OVERLAYS = ("redis", "bucket", "postgres")
# Which resources of others the files use. No schema of them is here, so that tests look at what they refer to.
OF_OTHERS = {
    ("keda.sh/v1alpha1", "ScaledObject"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
}
DASHBOARD = json.loads((KUBERNETES / "monitoring" / "dashboard.json").read_text(encoding="utf-8"))
ALERTS = one(loaded(DEPLOY / "compose" / "alerts.yaml"))
SCALERS = ("hpa", "keda")


@pytest.fixture(params=[(overlay, scaler) for overlay in OVERLAYS for scaler in SCALERS], ids="-".join)
def manifests(request):
    """What `kubectl apply -k` would send, with one of the two autoscalers and with monitoring."""
    overlay, scaler = request.param
    return built(KUBERNETES / overlay, components=(KUBERNETES / scaler, KUBERNETES / "monitoring"))


def named(manifests, kind, name="late-rerank"):
    return one([each for each in manifests if each["kind"] == kind and each["metadata"]["name"] == name])


class TestManifests:
    def test_are_what_kubernetes_takes(self, manifests):
        kinds = {(each["apiVersion"], each["kind"]) for each in manifests}
        for each in manifests:
            if (each["apiVersion"], each["kind"]) not in OF_OTHERS:
                validate.validate(each, validate.latest_version(), strict=True)
        assert len(kinds - OF_OTHERS) >= 6

    def test_a_misspelt_field_would_be_found(self, manifests):
        deployment = named(manifests, "Deployment")
        deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
        with pytest.raises(validate.ValidationError):
            validate.validate(deployment, validate.latest_version(), strict=True)

    def test_every_overlay_is_of_files_that_exist(self):
        for overlay in OVERLAYS:
            assert built(KUBERNETES / overlay)

    def test_every_file_belongs_to_one(self):
        used = set()
        for overlay in OVERLAYS:
            for scaler in SCALERS:
                built(KUBERNETES / overlay, components=(KUBERNETES / scaler, KUBERNETES / "monitoring"), used=used)
        values_of_a_chart = {KUBERNETES / "hpa" / "prometheus-adapter.yaml"}
        files = {path for path in KUBERNETES.rglob("*") if path.suffix in (".yaml", ".json")}
        assert {path for path in files if path.name != "kustomization.yaml"} - used == values_of_a_chart

    def test_whatever_names_pods_finds_them(self, manifests):
        pods = all_pods(manifests)
        selectors = [
            *(each["spec"]["selector"] for each in manifests if each["kind"] == "Service"),
            *(
                each["spec"]["selector"]["matchLabels"]
                for each in manifests
                if each["kind"] in ("PodDisruptionBudget", "PodMonitor")
            ),
            *(each["spec"]["podSelector"]["matchLabels"] for each in manifests if each["kind"] == "NetworkPolicy"),
            *(each["spec"]["selector"]["matchLabels"] for each in manifests if each["kind"] == "Deployment"),
        ]
        assert len(selectors) >= 6
        assert [selector for selector in selectors if not any(selector.items() <= pod.items() for pod in pods)] == []

    def test_a_scaler_scales_the_servers_and_nothing_else_says_how_many(self, manifests):
        scaler = one([each for each in manifests if each["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")])
        deployment = named(manifests, scaler["spec"]["scaleTargetRef"].get("kind", "Deployment"))
        assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        assert "replicas" not in deployment["spec"]

    def test_a_server_has_time_to_finish_what_runs(self, manifests):
        pod = named(manifests, "Deployment")["spec"]["template"]["spec"]
        settings = named(manifests, "ConfigMap")["data"]
        drains, answers = (float(settings[f"LATE_RERANK_{name}_S"]) for name in ("DRAIN", "TIMEOUT"))
        assert pod["terminationGracePeriodSeconds"] >= drains + answers + 15
        # Until the kubelet has seen it twice, and proxies were told.
        probe = one(pod["containers"])["readinessProbe"]
        assert drains >= 2 * probe["periodSeconds"] * probe["failureThreshold"]

    def test_no_server_goes_before_another_answers(self, manifests):
        strategy = named(manifests, "Deployment")["spec"]["strategy"]["rollingUpdate"]
        assert strategy["maxUnavailable"] == 0

    def test_its_settings_are_options_of_the_server(self, manifests, monkeypatch):
        container = one(named(manifests, "Deployment")["spec"]["template"]["spec"]["containers"])
        from_secret = dict.fromkeys(of_secret(container), "postgresql://db/rag")
        variables = named(manifests, "ConfigMap")["data"] | from_secret
        options = served_with(variables, container["args"], monkeypatch)
        assert str(options.store).startswith(("redis://", "s3://", "postgresql://"))
        assert (options.timeout_s, options.log_format) == (60, "json")

    @pytest.mark.parametrize(
        ("overlay", "without", "port"),
        [
            ("redis", [], 6379),
            ("redis", ["redis.yaml"], 6379),  # a Redis of the cloud, as kustomization.yaml says
            ("bucket", [], 443),
            ("postgres", [], 5432),
        ],
    )
    def test_servers_may_ask_the_store_wherever_it_is(self, overlay, without, port):
        manifests = built(KUBERNETES / overlay, without=without)
        (pod,) = [labels for labels in all_pods(manifests) if labels["app.kubernetes.io/name"] == "late-rerank"]
        policies = [each["spec"] for each in manifests if each["kind"] == "NetworkPolicy"]
        rules = [
            rule
            for spec in policies
            if spec["podSelector"]["matchLabels"].items() <= pod.items()
            for rule in spec.get("egress", [])
            if "to" not in rule
        ]
        assert {53, port} <= {each["port"] for rule in rules for each in rule["ports"]}

    def test_the_near_copy_has_room_in_its_volume(self):
        manifests = built(KUBERNETES / "bucket")
        pod = named(manifests, "Deployment")["spec"]["template"]["spec"]
        store = httpx.URL(named(manifests, "ConfigMap")["data"]["LATE_RERANK_STORE"])
        mount = one([each for each in pod["containers"][0]["volumeMounts"] if each["mountPath"] == store.params["cache"]])
        volume = one([each for each in pod["volumes"] if each["name"] == mount["name"]])
        assert gigabytes(store.params["cache_bytes"]) < gigabytes(volume["emptyDir"]["sizeLimit"])
        asked = pod["containers"][0]["resources"]["requests"]["ephemeral-storage"]
        assert gigabytes(asked) >= gigabytes(volume["emptyDir"]["sizeLimit"])

    def test_the_user_is_the_images(self, manifests):
        image = (DEPLOY.parent / "docker" / "Dockerfile").read_text(encoding="utf-8")
        context = named(manifests, "Deployment")["spec"]["template"]["spec"]["securityContext"]
        assert f"--uid {context['runAsUser']} " in image


def of_secret(container):
    """Names of variables that a container has from the Secret alone: without the key it doesn't start."""
    from_secrets = [each for each in container["env"] if "secretKeyRef" in each.get("valueFrom", {})]
    for each in from_secrets:
        assert each["valueFrom"]["secretKeyRef"] == {"name": "late-rerank", "key": each["name"]}
    return [each["name"] for each in from_secrets]


def served_with(variables, arguments, monkeypatch):
    """`late-rerank serve`'s options in this environment; an unknown variable fails."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    options = parser().parse_args(["serve", *arguments])
    known = {f"LATE_RERANK_{name.upper()}" for name in vars(options)}
    assert {name for name in variables if name.startswith("LATE_RERANK_")} - {"LATE_RERANK_API_KEYS"} <= known
    read_environment(options)
    return options


def gigabytes(text):
    number, unit = re.fullmatch(r"(\d+)(GB|Gi)", text).groups()
    return int(number) * (1.0 if unit == "GB" else 2**30 / 1e9)


class TestCompose:
    @pytest.fixture
    def services(self):
        """The services of all files together, by name."""
        found = {}
        for path in sorted((DEPLOY / "compose").glob("compose*.yaml")):
            for name, service in one(loaded(path))["services"].items():
                found.setdefault(name, {})[path.name] = service
        return found

    @pytest.mark.parametrize("file", ["compose.redis.yaml", "compose.bucket.yaml"])
    def test_its_settings_are_options_of_the_server(self, services, file, monkeypatch):
        monkeypatch.delenv("LATE_RERANK_REPLICAS", raising=False)
        of_servers = services["late-rerank"]
        variables = of_servers["compose.yaml"]["environment"] | of_servers[file]["environment"]
        # As Docker reads a variable that isn't set with what stands behind ":?" or ":-".
        filled = {
            name: re.sub(r"\$\{LATE_RERANK_BUCKET:[^}]*\}", "s3://bucket/prefix", value)
            for name, value in variables.items()
            if value is not None  # as here, or not set
        }
        options = served_with(filled, of_servers["compose.yaml"]["command"], monkeypatch)
        assert str(options.store).startswith(("redis://redis:", "s3://bucket/prefix?cache="))

    def test_no_credential_that_is_not_set_becomes_an_empty_one(self, services):
        given = services["late-rerank"]["compose.bucket.yaml"]["environment"]
        of_clouds = {name: value for name, value in given.items() if not name.startswith("LATE_RERANK_")}
        assert {"AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "GOOGLE_SERVICE_ACCOUNT_KEY"} <= set(of_clouds)
        assert set(of_clouds.values()) == {None}

    def test_a_server_has_time_to_finish_what_runs(self, services):
        server = services["late-rerank"]["compose.yaml"]
        drains = float(server["environment"]["LATE_RERANK_DRAIN_S"])
        assert float(server["stop_grace_period"].removesuffix("s")) >= drains + Limits().timeout_s + 15

    def test_what_it_builds_and_mounts_is_there(self, services):
        folder = DEPLOY / "compose"
        build = services["late-rerank"]["compose.yaml"]["build"]
        assert (folder / build["context"] / build["dockerfile"]).resolve().exists()
        volumes = [v for files in services.values() for service in files.values() for v in service.get("volumes", [])]
        mounted = [volume.split(":")[0] for volume in volumes if volume.startswith(".")]
        assert len(mounted) >= 5
        assert [path for path in mounted if not (folder / path).is_file()] == []

    def test_the_proxy_asks_the_servers_by_their_name(self, services):
        template = re.search(r"server-template replica 1-(\d+) ([\w-]+):(\d+)", (DEPLOY / "haproxy.cfg").read_text("utf-8"))
        assert template[2] in services
        assert template[3] == "8000"
        assert int(template[1]) >= 2

    def test_the_proxy_gives_a_request_the_time_that_the_server_gives_it(self):
        seconds = re.search(r"timeout server (\d+)s", (DEPLOY / "haproxy.cfg").read_text("utf-8"))[1]
        assert int(seconds) > Limits().timeout_s

    def test_threads_are_as_many_as_processors(self, services):
        server = services["late-rerank"]["compose.yaml"]
        assert int(server["environment"]["OMP_NUM_THREADS"]) == server["cpus"]

    def test_prometheus_asks_the_servers_and_reads_the_rules(self, services):
        settings = one(loaded(DEPLOY / "compose" / "prometheus.yaml"))
        assert one(settings["scrape_configs"])["dns_sd_configs"][0]["names"] == ["late-rerank"]
        mounts = services["prometheus"]["compose.monitoring.yaml"]["volumes"]
        assert any(volume.endswith(f":{settings['rule_files'][0]}:ro") for volume in mounts)


def test_the_proxys_settings_are_what_haproxy_takes():
    skip_without_haproxy()
    done = subprocess.run(["haproxy", "-c", "-f", str(DEPLOY / "haproxy.cfg")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


class TestMetrics:
    @pytest.fixture(scope="class")
    @classmethod
    def exported(cls):
        """Name -> label -> values, of a server that ranked stored and other documents and refused a request."""
        from serving import running

        from late_rerank import Reranker
        from late_rerank.serve.app import create_app
        from late_rerank.testing.fakes import FakeEncoder

        with running(create_app(lambda: Reranker(FakeEncoder()))) as url:
            for documents in (DOCUMENTS, DOCUMENTS, []):
                httpx.post(f"{url}/rerank", json={"query": QUERY, "documents": documents or 1})
            found = counts(url)
        metrics = {}
        for line in found:
            name, _, labels = line.partition("{")
            known = metrics.setdefault(name, {})
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
                known.setdefault(label, set()).add(value)
        return metrics

    def expressions():
        rules = [(rule["alert"], rule["expr"]) for group in ALERTS["groups"] for rule in group["rules"]]
        panels = [(panel["title"], target["expr"]) for panel in DASHBOARD["panels"] for target in panel["targets"]]
        triggers = one(loaded(KUBERNETES / "keda" / "scaled-object.yaml"))["spec"]["triggers"]
        adapter = one(loaded(KUBERNETES / "hpa" / "prometheus-adapter.yaml"))["rules"]["custom"]
        hpa = one(loaded(KUBERNETES / "hpa" / "autoscaler.yaml"))["spec"]["metrics"]
        return [
            *rules,
            *panels,
            *(("keda", trigger["metadata"]["query"]) for trigger in triggers),
            *(("adapter", rule["seriesQuery"]) for rule in adapter),
            *(("hpa", metric["pods"]["metric"]["name"]) for metric in hpa),
        ]

    @pytest.mark.parametrize(("name", "expression"), expressions())
    def test_every_one_that_is_asked_for_is_exported_with_its_labels(self, exported, name, expression):
        assert wrong_in(expression, exported) == []

    def test_one_that_is_not_exported_is_found(self, exported):
        wrong = wrong_in('sum by (kind) (rate(late_rerank_request_total{status="200", vectors="hit"}[5m]))', exported)
        assert wrong == ["late_rerank_request_total", "kind"]
        assert wrong_in('late_rerank_documents_total{vectors="hits"}', exported) == ["vectors=hits"]
        assert wrong_in('late_rerank_documents_total{stage="fetch"}', exported) == ["stage"]

    def test_the_operators_rules_are_prometheuss(self):
        assert one(loaded(KUBERNETES / "monitoring" / "alerts.yaml"))["spec"] == ALERTS

    def test_a_lost_server_is_told_by_the_name_under_which_prometheus_knows_it(self):
        (rule,) = [rule for group in ALERTS["groups"] for rule in group["rules"] if rule["alert"] == "LateRerankDown"]
        asked = re.search(r'up\{job=~"([^"]+)"\}', rule["expr"])[1]
        in_compose = one(one(loaded(DEPLOY / "compose" / "prometheus.yaml"))["scrape_configs"])["job_name"]
        # The operator names a job by the namespace and the name of its PodMonitor.
        of_operator = f"default/{one(loaded(KUBERNETES / 'monitoring' / 'pod-monitor.yaml'))['metadata']['name']}"
        assert all(re.fullmatch(asked, job) for job in (in_compose, of_operator))
        assert not re.fullmatch(asked, "late-rerank-redis")

    def test_every_panel_has_its_place(self):
        places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
        cells = [(x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24
        assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(places)


# What Prometheus itself adds to a series of a pod.
OF_PROMETHEUS = {"namespace", "pod", "instance", "job"}
# Values that a server has only after something went wrong.
RARE = {"status", "reason"}


def wrong_in(expression, exported):
    """Metrics, labels and values of a PromQL expression that the server doesn't have."""
    wrong = []
    labels_of_all = {"le"}
    for name, labels in re.findall(r"(late_rerank_\w+)(?:\{([^}]*)\})?", expression):
        if name not in exported:
            wrong.append(name)
            continue
        labels_of_all |= set(exported[name])
        for label, sign, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', labels):
            if label in OF_PROMETHEUS:
                continue
            if label not in exported[name]:
                wrong.append(label)
            elif label not in RARE and sign == "=" and value not in exported[name][label]:
                wrong.append(f"{label}={value}")
    grouped = [label.strip() for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.split(",")]
    return wrong + [label for label in grouped if label not in labels_of_all | OF_PROMETHEUS]

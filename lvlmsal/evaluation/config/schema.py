"""What a config may say: structured dataclasses."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from omegaconf import MISSING, OmegaConf

from lvlmsal.evaluation.config.paper import PaperConfig
from lvlmsal.evaluation.config.unresolved import Unresolved, literal, unresolved


@dataclass
class ModelConfig:
    """A checkpoint.

    Attributes:
        source: Catalog name, hub id or local folder.
        name: What tables and records call it; by default the last part of `source`.
        dtype: ``float32``, ``bfloat16`` ...; by default what the checkpoint says.
        revision: Commit of the hub repository.
        trust_remote_code: Allow code from the hub to run.
        device_map: Passed to transformers, to spread a model over devices.
        image_backend: What resizes images: ``pil``, ``torchvision``, or ``auto`` for what
            transformers chooses.
        max_image_pixels: A sample with an image of more pixels fails; by default 100 million.
    """

    source: str = MISSING
    name: str = ""
    dtype: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    device_map: str | None = None
    image_backend: str = "auto"
    max_image_pixels: int | None = None


@dataclass
class MethodConfig:
    """One way of generating: a decoder and the interventions that are active meanwhile.

    Attributes:
        name: What tables and records call it.
        decoder: ``name`` and options of a registered decoder.
        interventions: ``name`` and options of registered interventions, applied in order.
    """

    name: str = MISSING
    decoder: dict[str, Any] = field(default_factory=lambda: {"name": "greedy"})
    interventions: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class BenchmarkConfig:
    """A registered benchmark.

    Attributes:
        name: Registered name.
        label: What tables and records call it; by default the benchmark's own label.
        metrics: Further metrics of the same answers: ``name`` and options of registered ones, and a
            ``label`` where figures shall be called otherwise.
        options: Its options; in a config they stand next to ``name``.
    """

    name: str = MISSING
    label: str = ""
    metrics: list[dict[str, Any]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class WorldConfig:
    """A scene world to write before the benchmarks are read, if it is not there yet.

    Attributes:
        root: Folder to write.
        kind: ``shapes``, or ``stickers`` for places with COCO's classes (needs the extra
            ``stickers``).
        images: How many scenes.
        seed: Seed of the scenes.
        shifted: Draw the scenes without the co-occurrence bias of the training data.
    """

    root: str = MISSING
    kind: str = "shapes"
    images: int = 100
    seed: int = 0
    shifted: bool = True


@dataclass
class TrainerConfig:
    """Options of Lightning's Trainer.

    Attributes:
        accelerator: ``auto``, ``cpu``, ``gpu`` ...
        devices: A number, a list of indices, or ``auto``.
        num_nodes: Number of machines.
        strategy: Lightning's strategy; ``auto`` is one process for one device, otherwise ddp.
        precision: Lightning's precision; the dtype of the weights is the model's `dtype`.
    """

    accelerator: str = "auto"
    devices: Any = 1
    num_nodes: int = 1
    strategy: str = "auto"
    precision: str = "32-true"


@dataclass
class BootstrapConfig:
    """How intervals are drawn where no closed form applies.

    Attributes:
        samples: Number of resamples.
        seed: Seed of the resamples.
    """

    samples: int = 2000
    seed: int = 0


@dataclass
class DataConfig:
    """Where the files are.

    Attributes:
        root: Folder of every benchmark that names no `root` of its own.
    """

    root: str | None = None


@dataclass
class JudgeConfig:
    """The model that ``lvlmsal judge`` asks what answers are worth.

    Attributes:
        model: What the endpoint calls the model.
        base_url: Address up to ``/v1`` of an endpoint that speaks OpenAI's chat completions.
        api_key_env: Name of the environment variable with the key; empty where none is needed.
        concurrency: How many requests are under way at once.
        timeout: Seconds that one try may take.
        retries: How often a request is sent again after a failure that may pass.
        max_reply_bytes: A longer reply is not read; the request counts as refused.
        options: Further fields of every request; null takes a field out (``max_tokens: null``).
        price_in: Price of a million tokens of requests.
        price_out: Price of a million tokens of replies.
        max_calls: At most this many requests are sent for a run, repeated tries included.
        max_cost: No request is sent for a run once this much is spent.
    """

    model: str = MISSING
    base_url: str = "https://api.openai.com/v1"
    api_key_env: str = "OPENAI_API_KEY"
    concurrency: int = 8
    timeout: float = 60.0
    retries: int = 5
    max_reply_bytes: int = 1_000_000
    options: dict[str, Any] = field(default_factory=dict)
    price_in: float | None = None
    price_out: float | None = None
    max_calls: int | None = None
    max_cost: float | None = None


@dataclass
class RunConfig:
    """A whole run: every model with every method on every benchmark.

    Attributes:
        output: Run folder; the same config with the same folder continues a stopped run.
        models: Checkpoints.
        methods: Decoders and interventions.
        benchmarks: What is asked.
        baseline: Name of the method that all others are compared with; by default each method is
            compared with its twin, the method that decodes alike without any mitigation.
        twins: Add the twins that the methods lack.
        data: Where the files of the benchmarks are.
        world: Scene world to write first; without `data` its folder is the benchmarks' root.
        seed: Seed of all random numbers of generation; each sample has its own stream.
        seeds: Several seeds in place of `seed`: decoders that draw answer once with each.
        batch_size: Samples that are decoded together; changes speed only.
        share_images: Run the image once for all questions about it, where decoder and interventions
            allow that; changes speed only.
        workers: Processes that open images while the model answers; 0 opens them in between.
        max_failures: How many samples of one model, method and benchmark may fail (an image that
            is missing or cannot be opened, a question that cannot be tokenized, whatever the
            processor refuses) before the run stops.
        trainer: Options of Lightning's Trainer.
        bootstrap: How intervals are drawn.
        judge: The model that ``lvlmsal judge`` asks about the answers.
        logger: What a run is watched with: ``csv``, ``tensorboard``, ``wandb`` or ``none``.
        paper: Published figures to show next to the run's own.
        plugins: Modules to import first, because they register something.
        resume: Continue a run that is already in `output`; if false, such a run is an error.

    Not of the config, but about it: `texts` are the interpolations of the environment in it, by
    their place, for `shown` and `to_yaml`.
    """

    output: str = MISSING
    models: list[ModelConfig] = field(default_factory=list)
    methods: list[MethodConfig] = field(default_factory=list)
    benchmarks: list[BenchmarkConfig] = field(default_factory=list)
    baseline: str = ""
    twins: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    world: WorldConfig | None = None
    seed: int = 0
    seeds: list[int] = field(default_factory=list)
    batch_size: int = 8
    share_images: bool = True
    workers: int = 0
    max_failures: int = 0
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    bootstrap: BootstrapConfig = field(default_factory=BootstrapConfig)
    judge: JudgeConfig | None = None
    paper: PaperConfig | None = None
    logger: str = "csv"
    plugins: list[str] = field(default_factory=list)
    resume: bool = True

    def __post_init__(self) -> None:
        """Nothing is known of the environment; whoever reads a config notes what is."""
        self.texts: Unresolved = {}

    def all_seeds(self) -> list[int]:
        """The seeds of decoders that draw; the first one is that of all others."""
        return self.seeds or [self.seed]

    def to_dict(self) -> dict[str, Any]:
        """The config with every default filled in and every interpolation resolved."""
        content = asdict(self)
        for entry in content["benchmarks"]:
            entry.update(entry.pop("options"))
        return content

    def shown(self) -> dict[str, Any]:
        """`to_dict` for people: what the environment holds stays ``${oc.env:NAME}``."""
        shown: dict[str, Any] = unresolved(self.to_dict(), self.texts)
        return shown

    def to_yaml(self) -> str:
        """`shown` as YAML that gives this config again, read with the same environment."""
        return OmegaConf.to_yaml(OmegaConf.create(literal(self.to_dict(), self.texts)))

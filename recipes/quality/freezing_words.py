"""The sentences around the figures about freezing, in English and in Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """What the sections say in one language; names in braces are filled in."""

    method: str
    second: str
    rows: str
    listed: str
    join: str
    join_short: str
    finding: str
    faster: str
    columns: str
    shares: str
    own_backbone: str
    encoding: str
    parameters_plot: str
    seconds_plot: str
    inference: str
    frozen_columns: str
    states: Mapping[str, str]
    depth_columns: str
    trunk: str
    similarity: str
    pairs: str
    similarity_columns: str


_ENGLISH = Words(
    method=(
        "Encoder `{backbone}` ({fingerprint}…){other}. At most {rows} training rows and {epochs} "
        "epochs in batches of {batch}; every recipe has the same rows, a linear head on one depth "
        "(mean of the tokens, no n-grams), one seed and otherwise the default settings of `train`. "
        "For `head` these are a search over all depths, two learning rates and three weight "
        "decays, with more epochs, since one takes milliseconds. "
        "Rows of the training file choose the epoch and the head; the metric is of other rows, "
        "which chose nothing. {sets}. "
        "*Own passes*: per text, that no other task shares. *s/epoch*: seconds of an epoch of "
        "training, and of encoding the rows *once* before: up to the lowest trained depth, where "
        "that is above 0; for the head, which trains on features, up to the last one. *MB*: of "
        "gradients, the optimizer's moments and what a step keeps for the gradients, measured, "
        "beside the weights. Made by `scripts/quality DATA --freezing`."
    ),
    second=", and {name}, which has BERT's shape and reads English only",
    rows=(
        "`{name}` ({language}, {metric}): {train} rows train, {choosing} choose, {measured} "
        "measure, which leaves a figure uncertain by up to about {half} points"
    ),
    listed="; its training rows had a part in the first encoder before it was frozen",
    join="; ",
    join_short=", ",
    finding=(
        "- **{encoder}, `{recipe}`** beside `all`: {parameters} of the trained parameters, "
        "{memory} of the training memory{faster}. Points of the metric: {points}."
    ),
    faster=", an epoch {times} times as fast",
    columns=(
        "| set | encoder | recipe | becomes | trained parameters | own passes | s/epoch | MB "
        "| metric |"
    ),
    shares="task on the trunk",
    own_backbone="own backbone",
    encoding=" + {seconds} once",
    parameters_plot="Metric over trainable parameters, by recipe",
    seconds_plot="Seconds per epoch over the metric, by recipe",
    inference="Milliseconds per text on {texts} training rows of the first set, medians.",
    frozen_columns="| weights, in transformers | ms per text | MB of weights |",
    states={
        "trained": "all `requires_grad`",
        "frozen": "all frozen",
        "untied": "lower half frozen, upper half untied",
    },
    depth_columns="| depth read, `hub.encode(texts, depth=…)` | ms per text | of all depths |",
    trunk=(
        "One trunk and {tasks} heads, `hub.score(texts, tasks)`: {passes} passes and {shared} ms "
        "per text. {tasks} separate models of the same size, computed as {tasks} times all depths: "
        "{separate_passes} passes and {separate} ms, {ratio} times as much."
    ),
    similarity=(
        "Spearman's correlation with the scores of people on validation rows, of cosines by the "
        "depth that is read, – where all cosines are within 0.00001; *head*: linear, trained on "
        "other pairs of the set, compares the two texts. {rows}. The training rows of both "
        "sets had a part in the shipped encoder; validation rows with a text of those are left out."
    ),
    pairs="`{name}`: {rows} pairs measure, {train} train the head",
    similarity_columns="| set | encoder | vector | {depths} | head |",
)

_CHINESE = Words(
    method=(
        "编码器：`{backbone}`（{fingerprint}…）{other}。训练行最多 {rows} 行，最多 {epochs} 轮；"
        "每批 {batch} 行；所有方案用同样的行和同一个随机种子，头都是读单独一层的线性头"
        "（词元取平均，不带 n-gram），其余是 `train` 的默认设置。对 `head` 来说，"
        "默认设置包括在所有层、两种学习率和三种权重衰减中搜索，轮数也更多，因为一轮只要几毫秒。"
        "轮数和分类头由训练文件里留出的行来选，指标则在没有参与任何选择的行上测得。{sets}。"
        "*独占层数*：每条文本要多算、且不能与其他任务共用的层数。*秒/轮*：训练一轮的秒数，"
        "外加训练之前把所有行编码一次的秒数：可训练的最低层高于第 0 层时，编码到该层为止；"
        "`head` 在缓存的特征上训练，要编码到最后一层。*MB*：梯度、优化器动量和一步之中"
        "为求梯度而保留的张量，均为实测，不含权重本身。由 `scripts/quality DATA --freezing` 生成。"
    ),
    second="，以及结构与 BERT 相同、只读英文的 {name}",
    rows=(
        "`{name}`（{language}，{metric}）：{train} 行训练，{choosing} 行用于选择，{measured} "
        "行用于测量，每个数字的误差最大约 {half} 个百分点"
    ),
    listed="；第一个编码器在冻结之前用过它的训练行",
    join="；",
    join_short="，",
    finding=(
        "- **{encoder}，`{recipe}`** 与 `all` 相比：可训练参数为 {parameters}，"
        "训练内存为 {memory}{faster}。指标差（百分点）：{points}。"
    ),
    faster="，每轮的速度是它的 {times} 倍",
    columns=("| 数据集 | 编码器 | 方案 | 结果 | 可训练参数 | 独占层数 | 秒/轮 | MB | 指标 |"),
    shares="共用主干的任务",
    own_backbone="独立的编码器",
    encoding=" + 一次性 {seconds}",
    parameters_plot="指标与可训练参数量，按方案",
    seconds_plot="每轮秒数与指标，按方案",
    inference="每条文本的毫秒数，取第一个数据集的 {texts} 条训练文本，多次测量的中位数。",
    frozen_columns="| 权重状态（transformers） | 毫秒/条 | 权重 MB |",
    states={
        "trained": "全部 `requires_grad`",
        "frozen": "全部冻结",
        "untied": "下半冻结，上半解除共享",
    },
    depth_columns="| 读到第几层，`hub.encode(texts, depth=…)` | 毫秒/条 | 占全部层的比例 |",
    trunk=(
        "一个主干加 {tasks} 个头，`hub.score(texts, tasks)`：每条文本 {passes} 层、{shared} 毫秒。"
        "{tasks} 个同样大小的独立模型（按跑完所有层的时间乘以 {tasks} 推算）："
        "{separate_passes} 层、{separate} 毫秒，是前者的 {ratio} 倍。"
    ),
    similarity=(
        "验证行上，余弦与人工打分的 Spearman 相关系数，按读取的层列出，"
        "“–”表示所有余弦相差不到 0.00001；*训练的头*：线性，用该数据集的其他句对训练，"
        "比较两条文本。{rows}。随包发布的编码器用过这两个数据集的训练行；"
        "验证行里凡是含有这些训练行文本的，都已去掉。"
    ),
    pairs="`{name}`：{rows} 对用于测量，{train} 对训练头",
    similarity_columns="| 数据集 | 编码器 | 向量 | {depths} | 训练的头 |",
)

WORDS: Mapping[str, Words] = {"en": _ENGLISH, "zh": _CHINESE}

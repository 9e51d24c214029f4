"""What the command line says, in English and Chinese alike."""

from __future__ import annotations

from typing import Literal

Lang = Literal["en", "zh"]

TEXTS: dict[str, tuple[str, str]] = {
    "interrupted": ("interrupted; what was done is done, the rest is untouched", "已中断；已完成的保留，其余未动"),
    "file": ("{file}: {why}", "{file}：{why}"),
    "not_text": ("{given}: this is no UTF-8 text", "{given}：不是 UTF-8 文本"),
    "bug": (
        "this is a fault of the connector; run again with --debug and report it",
        "这是连接器自身的故障；请加 --debug 重试并报告",
    ),
    "not_migrated": (
        "the ledger's tables are not those of this version; run: oaerp db upgrade",
        "台账的表结构不是本版本所需；请运行：oaerp db upgrade",
    ),
    "needs_yes": ("nobody is here to ask; add --yes", "无人可询问；请加 --yes"),
    "upgraded": ("the ledger is up to date: {ledger}", "台账已是最新：{ledger}"),
    "runs": ("{what} runs; stop it with Ctrl-C", "{what} 已启动；按 Ctrl-C 停止"),
    "up": (
        "everything runs in this process; gateway http://{host}:{port}; stop it with Ctrl-C",
        "全部在本进程运行；网关 http://{host}:{port}；按 Ctrl-C 停止",
    ),
    "up_needs_memory": (
        "`oaerp up` runs the embedded default; broker_url names {broker}: start worker, relay, beat and gateway instead",
        "`oaerp up` 仅用于内嵌模式；broker_url 为 {broker}：请分别启动 worker、relay、beat 和 gateway",
    ),
    "beat_needs_broker": ("there is nothing to schedule beside `oaerp up`", "内嵌模式下调度已包含在 `oaerp up` 中"),
    "published": (
        "{accepted} accepted, {duplicate} known before, {refused} refused",
        "接受 {accepted} 条，已有 {duplicate} 条，拒绝 {refused} 条",
    ),
    "no_document": ("no document {number} in this ledger", "台账中没有单据 {number}"),
    "on_the_way": (
        "{count} accepted events wait for a worker; ask again when one has run",
        "有 {count} 条已接受的事件等待处理；工作进程运行后再查",
    ),
    "only_letters": ("dead letters name it: {ids}", "提到该单据的死信：{ids}"),
    "more_companies": (
        "{number} exists in several companies; add --company: {companies}",
        "{number} 存在于多个公司；请加 --company：{companies}",
    ),
    "no_letters": ("no dead letters here", "没有死信"),
    "letters": ("{causes} causes, {count} dead letters", "{causes} 类原因，{count} 条死信"),
    "no_letter": ("there is no dead letter {id}", "没有编号为 {id} 的死信"),
    "replaying": ("replaying", "重放中"),
    "discarding": ("discarding", "作废中"),
    "say_why": ("say why", "请说明原因"),
    "cut": (
        "the first {shown} of {all} characters; --json gives them all",
        "仅显示前 {shown} 个字符，共 {all} 个；加 --json 查看全部",
    ),
    "new_ledger": ("a new, empty ledger is made: {file}", "新建空台账：{file}"),
    "replay_ask": ("Replay {count} dead letters?", "重放 {count} 条死信？"),
    "replayed": ("{done} replayed, {refused} refused, {left} left", "已重放 {done}，被拒 {refused}，剩余 {left}"),
    "discard_ask": ("Discard {count} dead letters for good?", "永久作废 {count} 条死信？"),
    "discarded": ("{done} discarded, {refused} refused, {left} left", "已作废 {done}，被拒 {refused}，剩余 {left}"),
    "choose": ("name the dead letters, or a filter, or --all", "请指定死信编号、筛选条件或 --all"),
    "dry_run": ("dry run: nothing was changed", "试运行：未作任何更改"),
    "would_pass": ("would go through now", "现在可以通过"),
    "would_fail": ("still fails: {why}", "仍会失败：{why}"),
    "would_refuse": ("it is {state} already", "其状态已是 {state}"),
    "would_send": ("it is posted again", "将再次过账"),
    "foretold": ("{ok} would go through now, {failing} would still fail", "现在可通过 {ok}，仍会失败 {failing}"),
    "would_ask": ("the ERP is asked again", "将再次询问 ERP"),
    "would_tell": ("the OA is told again", "将再次通知 OA"),
    "audit_ok": ("the audit log is whole: {count} entries", "审计日志完整：{count} 条"),
    "audit_broken": (
        "the audit log was changed: entry {id} is not what it was",
        "审计日志被改动：第 {id} 条与原记录不符",
    ),
    "doctor_ok": ("all {count} checks passed", "{count} 项检查全部通过"),
    "doctor_bad": ("{bad} of {count} checks failed", "{count} 项检查中有 {bad} 项失败"),
    "demo_start": ("30 reports through the embedded default, in {home}", "在内嵌模式下处理 30 张报销单，目录 {home}"),
    "demo_working": ("booking", "入账中"),
    "demo_stuck": ("the demo did not come to rest within {seconds} s", "演示在 {seconds} 秒内未完成"),
    "demo_vouchers": ("Vouchers in the ERP", "ERP 中的凭证"),
    "demo_letters": ("Dead letters, broken on purpose", "死信（有意制造的错误）"),
    "demo_totals": ("Totals", "合计"),
    "demo_agree": (
        "The totals agree: expected, ledger and ERP say {total} CNY in {count} vouchers.",
        "合计一致：预期、台账与 ERP 均为 {total} CNY，共 {count} 张凭证。",
    ),
    "demo_differ": ("The totals do not agree.", "合计不一致。"),
    "demo_next": ("Look at one of the dead letters:", "查看其中一条死信："),
    "demo_next_trace": ("Follow one report from its arrival to its voucher:", "跟踪一张报销单从到达到入账的全过程："),
    "lint_ok": (
        "the mapping book is sound: {name} {version}, {rules} rules, {rows} rows",
        "映射手册无误：{name} {version}，规则 {rules} 条，表 {rows} 行",
    ),
    "lint_advice": ("{count} places are worth a look", "有 {count} 处值得核对"),
    "lint_bad": ("{count} places are wrong; nothing is booked with this book", "有 {count} 处错误；不会用此手册入账"),
    "no_tests": (
        "there are no tests in {folder}; a test is a report beside its voucher, in a *.case or *.yaml file",
        "{folder} 中没有测试；测试即一张报销单及其凭证，写在 *.case 或 *.yaml 文件中",
    ),
    "no_test_named": ("no test has {only} in its title or place", "没有标题或位置含 {only} 的测试"),
    "tests_unreadable": ("{count} places cannot be read; no test was run", "有 {count} 处无法读取；未运行任何测试"),
    "testing": ("testing", "测试中"),
    "expects_nothing": ("it expects nothing; write beside it what it becomes", "未写预期结果；请在旁边写出应有的凭证"),
    "tests_used": ("rules hit {rules}, rows used {rows}", "命中规则 {rules}，用到的行 {rows}"),
    "tests_passed": ("{count} tests passed", "{count} 项测试全部通过"),
    "tests_failed": ("{failed} of {count} tests failed", "{count} 项测试中有 {failed} 项失败"),
    "no_report": ("{file} is left out: {why}", "略过 {file}：{why}"),
    "coverage": (
        "{percent} % of the rules and rows are used by {count} reports; {unused} are not",
        "{count} 张报销单用到 {percent} % 的规则和行；未用到 {unused} 条",
    ),
    "not_booked": ("nothing was booked for {number} in that version", "{number} 的该版本没有入账"),
    "no_book": (
        "{reference}: the ledger keeps no such mapping book; its lines stand here without their reasons",
        "{reference}：台账未保存该映射手册；此处只列分录，不含原因",
    ),
    "rebuilt_same": ("{reference}: rebuilt with {book}: the same bytes", "{reference}：用 {book} 重建：字节完全相同"),
    "rebuilt_other": (
        "{reference}: rebuilt with {book}: it comes out otherwise",
        "{reference}：用 {book} 重建：结果不同",
    ),
    "takes_back": ("takes back {reference}", "冲销 {reference}"),
    "coverage_low": ("{percent} % is less than {least} %", "{percent} % 低于 {least} %"),
    "coverage_missing": (
        "{count} categories or departments of the ledger have no account",
        "台账中有 {count} 个费用类别或部门没有对应科目",
    ),
    "books_same": ("the books say the same", "两本手册内容相同"),
    "books_differ": ("{count} rules and rows differ", "有 {count} 条规则或行不同"),
    "vouchers_differ": ("{others} of {count} vouchers would be others", "{count} 张凭证中有 {others} 张会不同"),
}


# What the code says in English, in Chinese: headings of tables, and what the doctor looks at.
CHINESE: dict[str, str] = {
    "": "",
    "account": "科目",
    "amount": "金额",
    "cause": "原因",
    "check": "检查项",
    "code": "代码",
    "count": "数量",
    "credit": "贷方",
    "debit": "借方",
    "dimensions": "维度",
    "do": "处理",
    "example": "示例",
    "expected": "应为",
    "file": "文件",
    "found": "结果",
    "from": "来源",
    "got": "实为",
    "id": "编号",
    "number": "单号",
    "oldest": "最早",
    "rule": "规则",
    "setting": "设置",
    "since": "起始",
    "state": "状态",
    "status": "状态",
    "time (UTC)": "时间 (UTC)",
    "value": "值",
    "version": "版本",
    "waits for": "等待",
    # What happened to a document (`oaerp trace`).
    "call": "调用",
    "dead letter": "死信",
    "event": "事件",
    "person": "人工",
    "planned": "计划",
    "posted": "已过账",
    "rejected": "被拒绝",
    "reversed": "已冲销",
    "unknown": "存疑",
    "write-back": "回写",
    "what": "事项",
    "what would happen": "将会如何",
    "where": "位置",
    "why": "原因",
    # The consultant's workbench (`oaerp mapping`).
    "accounts": "科目对照表",
    "added": "新增",
    "after": "之后",
    "before": "之前",
    "category": "费用类别",
    "changed": "更改",
    "chart": "科目表",
    "companies": "公司表",
    "company": "公司",
    "department": "部门",
    "field": "字段",
    "key": "键",
    "moved": "移动",
    "never used": "从未用到",
    "of": "总数",
    "pairs": "成对分录",
    "payables": "往来对象表",
    "per_diem": "每日补贴表",
    "periods": "期间策略表",
    "removed": "删除",
    "roles": "用途表",
    "rules": "规则",
    "table": "表",
    "tax": "税务表",
    "tolerances": "尾差上限表",
    "used": "已用",
    # What the doctor looks at.
    "Celery": "Celery 设置",
    "ERP": "ERP",
    "OA": "OA",
    "Redis eviction": "Redis 淘汰策略",
    "Redis persistence": "Redis 持久化",
    "Redis settings": "Redis 设置",
    "Redis version": "Redis 版本",
    "broker": "消息中间件",
    "broker encryption": "消息中间件加密",
    "broker queues": "消息队列",
    "clock": "时钟",
    "dead letters": "死信",
    "disk": "磁盘",
    "events nobody takes": "无人处理的事件",
    "gateway": "网关",
    "lease": "认领时限",
    "ledger": "台账",
    "ledger durability": "台账持久性",
    "ledger encryption": "台账加密",
    "ledger tables": "台账表结构",
    "mapping book": "映射手册",
    "message signatures": "消息签名",
    "postings in doubt": "存疑的过账",
    "postings left in a call": "调用中断的过账",
    "system encryption": "系统连接加密",
    "systems": "系统",
    "tries of a failing call": "失败调用的尝试次数",
    "webhook signatures": "Webhook 签名",
    # What the doctor says to do.
    "add ?sslmode=verify-full to OAERP_LEDGER_URL": "在 OAERP_LEDGER_URL 后加 ?sslmode=verify-full",
    "correct its user and password": "更正其用户和口令",
    "correct the mapping book": "更正映射手册",
    "correct the setting that is named": "更正所指的设置",
    "correct the user, password or rights on the broker": "更正消息中间件的用户、口令或权限",
    "delete the queue or key that was made otherwise; the ledger sends again what was in it": (
        "删除以其他方式建立的队列或键；其中的内容会由台账重新发送"
    ),
    "do not override these": "不要改动这些设置",
    "let the connector write into this folder": "让连接器可写入该目录",
    "let this user read CONFIG and INFO, or look by hand: noeviction, appendonly yes, version 7": (
        "让该用户可读 CONFIG 和 INFO，或人工核对：noeviction、appendonly yes、版本 7"
    ),
    "look at the code": "查看该代码的说明",
    "make delivery.lease_s longer than retry.call_total_s, or two workers send at once": (
        "delivery.lease_s 须长于 retry.call_total_s，否则两个工作进程会同时发送"
    ),
    "make delivery.lease_s shorter than RabbitMQ's consumer_timeout (30 minutes unless set)": (
        "delivery.lease_s 须短于 RabbitMQ 的 consumer_timeout（默认 30 分钟）"
    ),
    "make room": "清理磁盘空间",
    "name one in OAERP_ERP; until then nothing is delivered": "在 OAERP_ERP 中配置；此前不会过账",
    "nothing yet: the ERP is asked what became of them": "暂无需处理：系统会向 ERP 查询结果",
    "oaerp deadletters list": "oaerp deadletters list",
    "one process only; use RabbitMQ or Redis to run several": "仅限单进程；多进程请用 RabbitMQ 或 Redis",
    "put the ledger on a local disk that can do WAL": "把台账放在支持 WAL 的本地磁盘上",
    "run a relay and a worker": "运行 relay 和 worker",
    "run a worker and beat: they are taken over and asked about": "运行 worker 和 beat：会接管并查询结果",
    "run: oaerp db upgrade": "请运行：oaerp db upgrade",
    "set OAERP_SECURITY__API_TOKENS": "请设置 OAERP_SECURITY__API_TOKENS",
    "set OAERP_SECURITY__SIGNING_KEYS, so that nobody on the broker can forge a report": (
        "请设置 OAERP_SECURITY__SIGNING_KEYS，防止有人在消息中间件上伪造报销单"
    ),
    "set OAERP_SECURITY__WEBHOOK_KEYS": "请设置 OAERP_SECURITY__WEBHOOK_KEYS",
    "set appendonly yes: without it a restart loses no event, but every one is sent again": (
        "请设置 appendonly yes：否则重启后虽不丢失事件，但全部重新发送"
    ),
    "set maxmemory-policy noeviction": "请设置 maxmemory-policy noeviction",
    "start it, or correct OAERP_BROKER_URL": "启动它，或更正 OAERP_BROKER_URL",
    "start it, or correct OAERP_LEDGER_URL": "启动它，或更正 OAERP_LEDGER_URL",
    "start it, or correct its address": "启动它，或更正其地址",
    "synchronise the clocks (NTP)": "同步时钟 (NTP)",
    "turn these on: what is committed must survive a power cut": "请打开这些选项：已提交的内容必须经得起断电",
    "use PostgreSQL 15 or newer": "请使用 PostgreSQL 15 或更新版本",
    "use Redis 7 or newer": "请使用 Redis 7 或更新版本",
    "use amqps:// or rediss://": "请使用 amqps:// 或 rediss://",
    "use https://": "请使用 https://",
    "use memory://, amqp:// or redis://: the others lose work when a worker is killed": (
        "请使用 memory://、amqp:// 或 redis://：其他方式在工作进程被终止时会丢失工作"
    ),
}


def translated(english: str, lang: Lang) -> str:
    """An English text of the code in the chosen language; data that is no text of ours stays as it is."""
    return CHINESE.get(english, english) if lang == "zh" else english


def say(key: str, lang: Lang, /, **values: object) -> str:
    """A text in a language, with its values filled in."""
    english, chinese = TEXTS[key]
    return (chinese if lang == "zh" else english).format(**values)

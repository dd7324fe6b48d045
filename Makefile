# The whole developer interface. CI calls only these.
SHELL := /bin/sh
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help run check test proof vllm vllm-test bench eval studio peers lock clean

help:  ## show this list
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1	\2/p' Makefile

run:  ## install if needed and open the chat page on http://127.0.0.1:7860
	@sh scripts/install.sh app
	@exec $(BIN)/rigfit ui

test:  ## every test that needs no vLLM and no external validator
	@sh scripts/install.sh dev
	@sh scripts/browser.sh
	@sh scripts/postgres.sh
	@$(BIN)/pytest --ignore=tests/vllm --ignore=tests/proof

proof:  ## every launch file, over a grid of plans, against its target's own parser
	@sh scripts/install.sh dev
	@sh scripts/proof.sh
	@sh scripts/studio.sh
	@$(BIN)/pytest tests/proof

vllm:  ## install vLLM into an environment of its own, .vllm, for exact figures and for serving
	@sh scripts/vllm.sh

vllm-test:  ## against the real vLLM: the calculator beside its code, and engines that are served, on the processor
	@sh scripts/install.sh dev
	@sh scripts/vllm.sh
	@RIGFIT_VLLM_PYTHON=.vllm/bin/python $(BIN)/pytest tests/vllm -m "not engines"
	@RIGFIT_VLLM_PYTHON=.vllm/bin/python $(BIN)/pytest tests/vllm -m engines -n 0 --durations 25
	@$(BIN)/python tests/vllm/report.py

check:  ## lint, format and types
	@sh scripts/install.sh dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright

bench:  ## speed and size against their limits; make bench PEERS=1 also installs the routers that the gateway is beside
	@sh scripts/install.sh dev
	@$(if $(PEERS),sh scripts/bench_peers.sh)
	@$(BIN)/python scripts/bench.py

eval:  ## ask questions whose readings are known and judge the answers; of a model: make eval RIGFIT_LLM_URL=http://...
	@sh scripts/install.sh dev
	@$(BIN)/python scripts/eval.py $(QUESTIONS) $(if $(OUT),--out "$(OUT)") $(if $(PARALLEL),--parallel "$(PARALLEL)")

studio:  ## the graph in LangGraph's development server on http://127.0.0.1:2024
	@sh scripts/install.sh app
	@sh scripts/studio.sh
	@LANGGRAPH_CLI_NO_ANALYTICS=1 LANGSMITH_TRACING=false .studio/bin/langgraph dev --no-browser --host 127.0.0.1

peers:  ## Rigfit beside other calculators on measured start-ups: make peers MEASURED=path/to/measured.jsonl
	@sh scripts/install.sh dev
	@sh scripts/peers.sh "$(MEASURED)"

lock:  ## resolve the dependencies again into the hashed requirements files
	@sh scripts/lock.sh

clean:  ## remove the environments and caches
	rm -rf .venv .vllm .peers .proof .bench .eval .studio .langgraph_api .pytest_cache .ruff_cache .hypothesis

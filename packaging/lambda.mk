# Packaging and deployment; the Makefile includes it. Nothing here trains a model or deletes one.

IMAGE ?= realizar-lambda:latest
BASE_IMAGE ?=
BUILD_IMAGE ?=
ZIP ?= dist/realizar-lambda.zip
EVENT ?= events/predict-api-gateway-v2.json
FUNCTION ?= PredictFunction
ARCHITECTURE ?=
SAM ?= $(SAM_BIN)/sam
RUNTIME_PYTHONS ?= $(foreach version,3.12 3.13,$(shell python$(version) -c 'import sys; print(sys.executable)' 2>/dev/null))
SAM_PARAMETERS := $(if $(BASE_IMAGE)$(ARCHITECTURE),--parameter-overrides $(addprefix BaseImage=,$(BASE_IMAGE)) \
	$(addprefix Architecture=,$(ARCHITECTURE)))
# BuildKit alone builds an image for another platform whose first stage is for this one.
HAS_BUILDKIT := $(if $(ARCHITECTURE),$(shell docker buildx version 2>/dev/null))
PLATFORM := $(if $(HAS_BUILDKIT),--platform linux/$(if $(filter arm64,$(ARCHITECTURE)),arm64,amd64))
SAM_BUILDER := $(if $(filter-out $(subst aarch64,arm64,$(shell uname -m)),$(ARCHITECTURE)),--use-buildkit)

export SAM_CLI_TELEMETRY ?= 0

.PHONY: lambda-build lambda-package lambda-invoke lambda-validate lambda-bench lambda-deploy

lambda-build: ## build the function's image; BASE_IMAGE=... builds it on another base, ARCHITECTURE=arm64 for Graviton
	@$(PYTHON) packaging/manifest.py models
	docker build -f Dockerfile.lambda $(PLATFORM) $(addprefix --build-arg BASE_IMAGE=,$(BASE_IMAGE)) \
		$(addprefix --build-arg BUILD_IMAGE=,$(BUILD_IMAGE)) \
		$(addprefix --build-arg ARCHITECTURE=,$(ARCHITECTURE)) -t $(IMAGE) .

lambda-package: $(if $(filter arm64,$(ARCHITECTURE)),kernels-arm64,kernels) ## make the zip for the managed Python runtimes; ARCHITECTURE=arm64 for Graviton
	@$(BIN)/python packaging/zip_file.py $(ZIP) $(addprefix --architecture ,$(ARCHITECTURE)) $(addprefix --python ,$(RUNTIME_PYTHONS))

lambda-invoke: $(SAM_INSTALLED) ## send EVENT=events/....json to FUNCTION=PredictFunction or GenerateFunction in its container
	@test -f "$(EVENT)" || { echo "error: no event $(EVENT); there are: $$(ls events/*.json | tr '\n' ' ')"; exit 1; }
	$(SAM) build $(FUNCTION) $(SAM_PARAMETERS) $(SAM_BUILDER)
	$(SAM) local invoke $(FUNCTION) --event $(EVENT) --skip-pull-image

lambda-validate: $(SAM_INSTALLED) ## check the templates as CloudFormation would
	$(SAM) validate --lint --region us-east-1
	$(SAM) validate --lint --region us-east-1 --template template-zip.yaml

lambda-bench: kernels $(SAM_INSTALLED) ## time cold starts in containers; PEER_PYTHON=... has the peers, BASE_IMAGE=... for the images
	@PATH="$(abspath $(SAM_BIN)):$$PATH" $(BIN)/python -m bench.lambda_bench --peer-python $(PEER_PYTHON) \
		$(addprefix --base-image ,$(BASE_IMAGE))
	@$(BIN)/python -m bench.tables

lambda-deploy: lambda-validate ## build and deploy to your AWS account; asks before it changes anything
	@test -z "$$CI" || { echo "error: lambda-deploy asks questions and never runs in CI"; exit 1; }
	@$(PYTHON) packaging/manifest.py models
	$(SAM) build $(SAM_PARAMETERS) $(SAM_BUILDER)
	$(SAM) deploy --guided

BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0005');
CREATE TABLE facts (
	study VARCHAR(200) NOT NULL, 
	"key" VARCHAR(200) NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY (study, "key"), 
	FOREIGN KEY(study) REFERENCES studies (name)
);
INSERT INTO "facts" VALUES('old','mlflow.experiment','7');
CREATE TABLE outbox (
	id INTEGER NOT NULL, 
	study VARCHAR(200) NOT NULL, 
	kind VARCHAR(40) NOT NULL, 
	trial INTEGER, 
	time FLOAT NOT NULL, 
	payload JSON NOT NULL, 
	delivered BOOLEAN NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(study) REFERENCES studies (name)
);
INSERT INTO "outbox" VALUES(1,'old','study_started',NULL,1.7953149948514437675e+09,'{"name": "old", "document": {"autopeft": 1, "study": "old", "model": {"model_name_or_path": "bert", "task_type": "SEQ_CLS"}, "data": {"train": {"path": "json", "data_files": "train.jsonl"}, "validation": {"carve": 0.25, "from": "train", "seed": 0}, "columns": {"text": "text", "label": "label"}}, "training": {"num_train_epochs": 4}, "space": {"lora": {"layers": {"last": {"choice": [1, 2, 3]}}, "modules": [{"peft_type": "LORA", "r": {"choice": [1, 2, 4, 8]}, "target_modules": ["query", "value"]}], "training": {"learning_rate": {"low": 1e-05, "high": 0.01, "log": true}}}}, "objectives": [{"metric": "accuracy", "goal": "maximize"}, {"metric": "adapter_params", "goal": "minimize", "scale": "log"}], "budget": {"trials": 5}, "search": {"sampler": "random", "rungs": {"epochs": [1]}}}}',0);
INSERT INTO "outbox" VALUES(2,'old','trial_started',0,1763700014.0,'{"name": "lora r8 all-linear L0-5 lr 7.2e-3", "params": {"branch": "lora_all_linear", "method": "lora", "allocation": "uniform", "lora.r": 8, "lora.lora_alpha": 16, "lora.targets": "all-linear", "lora.layers": "0-5", "lora.layer_count": 6, "learning_rate": 0.007166065930641843, "num_train_epochs": 4.0}, "branch": "lora_all_linear", "baseline": true, "seed": 0, "confirms": null, "why": "baseline lora_all_linear: random", "promised": {}, "known": {"adapter_params": 55296.0, "trainable_params": 55426.0, "adapter_bytes": 221184.0}}',0);
INSERT INTO "outbox" VALUES(3,'old','curve',0,1763700015.0,'{"points": [[1, {"accuracy": 0.1}]]}',0);
INSERT INTO "outbox" VALUES(4,'old','rung',0,1763700016.0,'{"rung": 0, "step": 2, "metrics": {"accuracy": 0.5, "grad_norm": "nan"}, "stderr": {"accuracy": 0.01}, "seconds": 1.5}',0);
INSERT INTO "outbox" VALUES(5,'old','trial_ended',0,1763700016.0,'{"state": "paused", "metrics": {"adapter_params": 55296.0, "trainable_params": 55426.0, "adapter_bytes": 221184.0, "accuracy": 0.5, "grad_norm": "nan"}, "failure": null}',0);
INSERT INTO "outbox" VALUES(6,'old','trial_started',1,1763700030.0,'{"name": "lora r1 q,v L4-5 lr 8.6e-3", "params": {"branch": "lora", "method": "lora", "allocation": "uniform", "lora.r": 1, "lora.targets": "q,v", "lora.layers": "4-5", "lora.layer_count": 2, "learning_rate": 0.00859396972129247, "num_train_epochs": 4.0}, "branch": "lora", "baseline": false, "seed": 0, "confirms": null, "why": "branch lora: random", "promised": {}, "known": {"adapter_params": 512.0, "trainable_params": 642.0, "adapter_bytes": 2048.0}}',0);
INSERT INTO "outbox" VALUES(7,'old','curve',1,1763700031.0,'{"points": [[1, {"accuracy": 0.1}]]}',0);
INSERT INTO "outbox" VALUES(8,'old','rung',1,1763700032.0,'{"rung": 0, "step": 2, "metrics": {"accuracy": 0.51, "grad_norm": "nan"}, "stderr": {"accuracy": 0.01}, "seconds": 1.5}',0);
INSERT INTO "outbox" VALUES(9,'old','trial_ended',1,1763700032.0,'{"state": "paused", "metrics": {"adapter_params": 512.0, "trainable_params": 642.0, "adapter_bytes": 2048.0, "accuracy": 0.51, "grad_norm": "nan"}, "failure": null}',0);
INSERT INTO "outbox" VALUES(10,'old','trial_started',2,1763700046.0,'{"name": "lora r8 all-linear L0-5 lr 2.8e-4", "params": {"branch": "lora_all_linear", "method": "lora", "allocation": "uniform", "lora.r": 8, "lora.lora_alpha": 16, "lora.targets": "all-linear", "lora.layers": "0-5", "lora.layer_count": 6, "learning_rate": 0.0002828511102290532, "num_train_epochs": 4.0}, "branch": "lora_all_linear", "baseline": true, "seed": 0, "confirms": null, "why": "baseline lora_all_linear: random", "promised": {}, "known": {"adapter_params": 55296.0, "trainable_params": 55426.0, "adapter_bytes": 221184.0}}',0);
INSERT INTO "outbox" VALUES(11,'old','curve',2,1763700047.0,'{"points": [[1, {"accuracy": 0.1}]]}',0);
INSERT INTO "outbox" VALUES(12,'old','trial_ended',2,1763700048.0,'{"state": "failed", "metrics": {"adapter_params": 55296.0, "trainable_params": 55426.0, "adapter_bytes": 221184.0}, "failure": {"reason": "not_finite", "message": "loss is nan"}}',0);
INSERT INTO "outbox" VALUES(13,'old','trial_started',3,1763700062.0,'{"name": "lora r8 q,v L5 lr 1.2e-5", "params": {"branch": "lora", "method": "lora", "allocation": "uniform", "lora.r": 8, "lora.targets": "q,v", "lora.layers": "5", "lora.layer_count": 1, "learning_rate": 1.156651256246087e-05, "num_train_epochs": 4.0}, "branch": "lora", "baseline": false, "seed": 0, "confirms": null, "why": "branch lora: random", "promised": {}, "known": {"adapter_params": 2048.0, "trainable_params": 2178.0, "adapter_bytes": 8192.0}}',0);
INSERT INTO "outbox" VALUES(14,'old','curve',3,1763700063.0,'{"points": [[1, {"accuracy": 0.1}]]}',0);
INSERT INTO "outbox" VALUES(15,'old','rung',3,1763700064.0,'{"rung": 0, "step": 2, "metrics": {"accuracy": 0.53, "grad_norm": "nan"}, "stderr": {"accuracy": 0.01}, "seconds": 1.5}',0);
INSERT INTO "outbox" VALUES(16,'old','trial_ended',3,1763700064.0,'{"state": "paused", "metrics": {"adapter_params": 2048.0, "trainable_params": 2178.0, "adapter_bytes": 8192.0, "accuracy": 0.53, "grad_norm": "nan"}, "failure": null}',0);
INSERT INTO "outbox" VALUES(17,'old','trial_started',4,1763700078.0,'{"name": "lora r4 q,v L4-5 lr 4.8e-3", "params": {"branch": "lora", "method": "lora", "allocation": "uniform", "lora.r": 4, "lora.targets": "q,v", "lora.layers": "4-5", "lora.layer_count": 2, "learning_rate": 0.0048288280507072555, "num_train_epochs": 4.0}, "branch": "lora", "baseline": false, "seed": 0, "confirms": null, "why": "branch lora: random", "promised": {}, "known": {"adapter_params": 2048.0, "trainable_params": 2178.0, "adapter_bytes": 8192.0}}',0);
INSERT INTO "outbox" VALUES(18,'old','curve',4,1763700079.0,'{"points": [[1, {"accuracy": 0.1}]]}',0);
INSERT INTO "outbox" VALUES(19,'old','rung',4,1763700080.0,'{"rung": 0, "step": 2, "metrics": {"accuracy": 0.54, "grad_norm": "nan"}, "stderr": {"accuracy": 0.01}, "seconds": 1.5}',0);
INSERT INTO "outbox" VALUES(20,'old','trial_ended',4,1763700080.0,'{"state": "paused", "metrics": {"adapter_params": 2048.0, "trainable_params": 2178.0, "adapter_bytes": 8192.0, "accuracy": 0.54, "grad_norm": "nan"}, "failure": null}',0);
INSERT INTO "outbox" VALUES(21,'old','curve',0,1763700082.0,'{"points": [[1, {"accuracy": 0.1}]]}',0);
INSERT INTO "outbox" VALUES(22,'old','rung',0,1763700083.0,'{"rung": 1, "step": 10, "metrics": {"accuracy": 0.5, "grad_norm": "nan"}, "stderr": {"accuracy": 0.01}, "seconds": 1.5}',0);
INSERT INTO "outbox" VALUES(23,'old','trial_ended',0,1763700083.0,'{"state": "completed", "metrics": {"adapter_params": 55296.0, "trainable_params": 55426.0, "adapter_bytes": 221184.0, "accuracy": 0.5, "grad_norm": "nan"}, "failure": null}',0);
INSERT INTO "outbox" VALUES(24,'old','front',NULL,1763700084.0,'{"trials": [0], "hypervolume": 0.0, "told": 4, "best": {"accuracy": 0.5, "accuracy_within_lora_all_linear": 0.5}}',0);
CREATE TABLE rungs (
	id INTEGER NOT NULL, 
	study VARCHAR(200) NOT NULL, 
	trial INTEGER NOT NULL, 
	rung INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	metrics JSON NOT NULL, 
	stderr JSON NOT NULL, 
	seconds FLOAT NOT NULL, 
	started FLOAT NOT NULL, 
	ended FLOAT NOT NULL, 
	worker TEXT NOT NULL, test JSON, test_stderr JSON, 
	PRIMARY KEY (id), 
	CONSTRAINT one_result_a_rung UNIQUE (study, trial, rung), 
	FOREIGN KEY(study) REFERENCES studies (name)
);
INSERT INTO "rungs" VALUES(1,'old',0,0,2,'{"accuracy": 0.5, "grad_norm": "nan"}','{"accuracy": 0.01}',1.5,1763700000.0,1763700001.5,'old:1',NULL,NULL);
INSERT INTO "rungs" VALUES(2,'old',1,0,2,'{"accuracy": 0.51, "grad_norm": "nan"}','{"accuracy": 0.01}',1.5,1763700000.0,1763700001.5,'old:1',NULL,NULL);
INSERT INTO "rungs" VALUES(3,'old',3,0,2,'{"accuracy": 0.53, "grad_norm": "nan"}','{"accuracy": 0.01}',1.5,1763700000.0,1763700001.5,'old:1',NULL,NULL);
INSERT INTO "rungs" VALUES(4,'old',4,0,2,'{"accuracy": 0.54, "grad_norm": "nan"}','{"accuracy": 0.01}',1.5,1763700000.0,1763700001.5,'old:1',NULL,NULL);
INSERT INTO "rungs" VALUES(5,'old',0,1,10,'{"accuracy": 0.5, "grad_norm": "nan"}','{"accuracy": 0.01}',1.5,1763700000.0,1763700001.5,'old:1',NULL,NULL);
CREATE TABLE stores (
	identity VARCHAR(32) NOT NULL, 
	PRIMARY KEY (identity)
);
INSERT INTO "stores" VALUES('c377284f1e17413f91ce874563390eb2');
CREATE TABLE studies (
	name VARCHAR(200) NOT NULL, 
	document JSON NOT NULL, 
	folder TEXT NOT NULL, 
	created FLOAT NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	seconds FLOAT NOT NULL, owner VARCHAR(200), 
	PRIMARY KEY (name)
);
INSERT INTO "studies" VALUES('old','{"autopeft": 1, "study": "old", "model": {"model_name_or_path": "bert", "task_type": "SEQ_CLS"}, "data": {"train": {"path": "json", "data_files": "train.jsonl"}, "validation": {"carve": 0.25, "from": "train", "seed": 0}, "columns": {"text": "text", "label": "label"}}, "training": {"num_train_epochs": 4}, "space": {"lora": {"layers": {"last": {"choice": [1, 2, 3]}}, "modules": [{"peft_type": "LORA", "r": {"choice": [1, 2, 4, 8]}, "target_modules": ["query", "value"]}], "training": {"learning_rate": {"low": 1e-05, "high": 0.01, "log": true}}}}, "objectives": [{"metric": "accuracy", "goal": "maximize"}, {"metric": "adapter_params", "goal": "minimize", "scale": "log"}], "budget": {"trials": 5}, "search": {"sampler": "random", "rungs": {"epochs": [1]}}}','/studies/old',1.7953149948514437675e+09,'running',0.0,'root');
CREATE TABLE trials (
	study VARCHAR(200) NOT NULL, 
	number INTEGER NOT NULL, 
	configuration JSON NOT NULL, 
	configuration_key VARCHAR(16) NOT NULL, 
	seed BIGINT NOT NULL, 
	point JSON NOT NULL, 
	known JSON NOT NULL, 
	why TEXT NOT NULL, 
	baseline BOOLEAN NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	next_rung INTEGER NOT NULL, 
	failure JSON, 
	created FLOAT NOT NULL, 
	provenance JSON NOT NULL, expected_gain FLOAT, expected_left FLOAT, confirms INTEGER, 
	PRIMARY KEY (study, number), 
	FOREIGN KEY(study) REFERENCES studies (name)
);
INSERT INTO "trials" VALUES('old',0,'{"branch": "lora_all_linear", "architecture": {"modules": [{"peft_type": "LORA", "fields": {"lora_alpha": 16, "r": 8}, "targets": ["bert.encoder.layer.0.attention.self.query", "bert.encoder.layer.0.attention.self.key", "bert.encoder.layer.0.attention.self.value", "bert.encoder.layer.0.attention.output.dense", "bert.encoder.layer.0.intermediate.dense", "bert.encoder.layer.0.output.dense", "bert.encoder.layer.1.attention.self.query", "bert.encoder.layer.1.attention.self.key", "bert.encoder.layer.1.attention.self.value", "bert.encoder.layer.1.attention.output.dense", "bert.encoder.layer.1.intermediate.dense", "bert.encoder.layer.1.output.dense", "bert.encoder.layer.2.attention.self.query", "bert.encoder.layer.2.attention.self.key", "bert.encoder.layer.2.attention.self.value", "bert.encoder.layer.2.attention.output.dense", "bert.encoder.layer.2.intermediate.dense", "bert.encoder.layer.2.output.dense", "bert.encoder.layer.3.attention.self.query", "bert.encoder.layer.3.attention.self.key", "bert.encoder.layer.3.attention.self.value", "bert.encoder.layer.3.attention.output.dense", "bert.encoder.layer.3.intermediate.dense", "bert.encoder.layer.3.output.dense", "bert.encoder.layer.4.attention.self.query", "bert.encoder.layer.4.attention.self.key", "bert.encoder.layer.4.attention.self.value", "bert.encoder.layer.4.attention.output.dense", "bert.encoder.layer.4.intermediate.dense", "bert.encoder.layer.4.output.dense", "bert.encoder.layer.5.attention.self.query", "bert.encoder.layer.5.attention.self.key", "bert.encoder.layer.5.attention.self.value", "bert.encoder.layer.5.attention.output.dense", "bert.encoder.layer.5.intermediate.dense", "bert.encoder.layer.5.output.dense"], "layers": [0, 1, 2, 3, 4, 5]}], "allocation": ["uniform", {}], "full_fine_tuning": false}, "recipe": {"learning_rate": 0.007166065930641843, "num_train_epochs": 4.0}}','aefd48c279adf714',0,'{"branch": "lora_all_linear", "training.learning_rate": 0.007166065930641843}','{"adapter_params": 55296.0, "trainable_params": 55426.0, "adapter_bytes": 221184.0}','baseline lora_all_linear: random',1,'completed',1,NULL,1763700014.0,'{"versions": {"autopeft": "0"}, "alone": true}',NULL,NULL,NULL);
INSERT INTO "trials" VALUES('old',1,'{"branch": "lora", "architecture": {"modules": [{"peft_type": "LORA", "fields": {"r": 1}, "targets": ["bert.encoder.layer.4.attention.self.query", "bert.encoder.layer.4.attention.self.value", "bert.encoder.layer.5.attention.self.query", "bert.encoder.layer.5.attention.self.value"], "layers": [4, 5]}], "allocation": ["uniform", {}], "full_fine_tuning": false}, "recipe": {"learning_rate": 0.00859396972129247, "num_train_epochs": 4.0}}','bb9590aac67f87c1',0,'{"branch": "lora", "layers.last": 1, "modules[0].r": 0, "training.learning_rate": 0.00859396972129247}','{"adapter_params": 512.0, "trainable_params": 642.0, "adapter_bytes": 2048.0}','branch lora: random',0,'paused',1,NULL,1763700030.0,'{"versions": {"autopeft": "0"}, "alone": true}',NULL,NULL,NULL);
INSERT INTO "trials" VALUES('old',2,'{"branch": "lora_all_linear", "architecture": {"modules": [{"peft_type": "LORA", "fields": {"lora_alpha": 16, "r": 8}, "targets": ["bert.encoder.layer.0.attention.self.query", "bert.encoder.layer.0.attention.self.key", "bert.encoder.layer.0.attention.self.value", "bert.encoder.layer.0.attention.output.dense", "bert.encoder.layer.0.intermediate.dense", "bert.encoder.layer.0.output.dense", "bert.encoder.layer.1.attention.self.query", "bert.encoder.layer.1.attention.self.key", "bert.encoder.layer.1.attention.self.value", "bert.encoder.layer.1.attention.output.dense", "bert.encoder.layer.1.intermediate.dense", "bert.encoder.layer.1.output.dense", "bert.encoder.layer.2.attention.self.query", "bert.encoder.layer.2.attention.self.key", "bert.encoder.layer.2.attention.self.value", "bert.encoder.layer.2.attention.output.dense", "bert.encoder.layer.2.intermediate.dense", "bert.encoder.layer.2.output.dense", "bert.encoder.layer.3.attention.self.query", "bert.encoder.layer.3.attention.self.key", "bert.encoder.layer.3.attention.self.value", "bert.encoder.layer.3.attention.output.dense", "bert.encoder.layer.3.intermediate.dense", "bert.encoder.layer.3.output.dense", "bert.encoder.layer.4.attention.self.query", "bert.encoder.layer.4.attention.self.key", "bert.encoder.layer.4.attention.self.value", "bert.encoder.layer.4.attention.output.dense", "bert.encoder.layer.4.intermediate.dense", "bert.encoder.layer.4.output.dense", "bert.encoder.layer.5.attention.self.query", "bert.encoder.layer.5.attention.self.key", "bert.encoder.layer.5.attention.self.value", "bert.encoder.layer.5.attention.output.dense", "bert.encoder.layer.5.intermediate.dense", "bert.encoder.layer.5.output.dense"], "layers": [0, 1, 2, 3, 4, 5]}], "allocation": ["uniform", {}], "full_fine_tuning": false}, "recipe": {"learning_rate": 0.0002828511102290532, "num_train_epochs": 4.0}}','341bc8a290b31bb5',0,'{"branch": "lora_all_linear", "training.learning_rate": 0.0002828511102290532}','{"adapter_params": 55296.0, "trainable_params": 55426.0, "adapter_bytes": 221184.0}','baseline lora_all_linear: random',1,'failed',0,'{"reason": "not_finite", "message": "loss is nan", "details": "Traceback ..."}',1763700046.0,'{}',NULL,NULL,NULL);
INSERT INTO "trials" VALUES('old',3,'{"branch": "lora", "architecture": {"modules": [{"peft_type": "LORA", "fields": {"r": 8}, "targets": ["bert.encoder.layer.5.attention.self.query", "bert.encoder.layer.5.attention.self.value"], "layers": [5]}], "allocation": ["uniform", {}], "full_fine_tuning": false}, "recipe": {"learning_rate": 1.156651256246087e-05, "num_train_epochs": 4.0}}','6e3db41371ca75a2',0,'{"branch": "lora", "layers.last": 0, "modules[0].r": 3, "training.learning_rate": 1.156651256246087e-05}','{"adapter_params": 2048.0, "trainable_params": 2178.0, "adapter_bytes": 8192.0}','branch lora: random',0,'paused',1,NULL,1763700062.0,'{"versions": {"autopeft": "0"}, "alone": true}',NULL,NULL,NULL);
INSERT INTO "trials" VALUES('old',4,'{"branch": "lora", "architecture": {"modules": [{"peft_type": "LORA", "fields": {"r": 4}, "targets": ["bert.encoder.layer.4.attention.self.query", "bert.encoder.layer.4.attention.self.value", "bert.encoder.layer.5.attention.self.query", "bert.encoder.layer.5.attention.self.value"], "layers": [4, 5]}], "allocation": ["uniform", {}], "full_fine_tuning": false}, "recipe": {"learning_rate": 0.0048288280507072555, "num_train_epochs": 4.0}}','23ff1aa9271d5000',0,'{"branch": "lora", "layers.last": 1, "modules[0].r": 2, "training.learning_rate": 0.0048288280507072555}','{"adapter_params": 2048.0, "trainable_params": 2178.0, "adapter_bytes": 8192.0}','branch lora: random',0,'running',1,NULL,1763700078.0,'{"versions": {"autopeft": "0"}, "alone": true}',NULL,NULL,NULL);
CREATE INDEX ix_outbox_study ON outbox (study);
COMMIT;

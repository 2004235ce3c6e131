#!/bin/bash
# The databases of a new server: each has an owner of its own, who cannot enter the other.
# Run by the image of PostgreSQL when its volume is empty.
set -e
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username=postgres --dbname=postgres <<'SQL'
\getenv studies STUDIES_PASSWORD
\getenv mlflow MLFLOW_PASSWORD
CREATE ROLE autopeft LOGIN PASSWORD :'studies';
CREATE ROLE mlflow LOGIN PASSWORD :'mlflow';
CREATE DATABASE autopeft OWNER autopeft;
CREATE DATABASE mlflow OWNER mlflow;
REVOKE ALL ON DATABASE autopeft, mlflow, postgres FROM PUBLIC;
SQL

#!/usr/bin/env bash
# Runs the DAG once for real, in an Airflow of its own: deploy/airflow/check.sh AIRFLOW_VENV PAIRMILL RECIPE [RUN_FOLDER]
#
#   AIRFLOW_VENV  a virtual environment for Airflow; it is made, and Airflow installed into it, where there is none
#   PAIRMILL      the pairmill to call, e.g. .venv/bin/pairmill
#   RECIPE        a small recipe; the run folder, Airflow's database and its logs go to a temporary folder
set -euo pipefail
if [ $# -lt 3 ]; then
  sed -n '2,6s/^# \{0,1\}//p' "$0"
  exit 2
fi
venv=$1 pairmill=$(realpath "$2") recipe=$(realpath "$3")
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -x "$venv/bin/airflow" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet "apache-airflow${AIRFLOW_VERSION:+==$AIRFLOW_VERSION}" ${AIRFLOW_CONSTRAINTS:+-c "$AIRFLOW_CONSTRAINTS"}
fi
export AIRFLOW_HOME=$work/airflow AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__CORE__DAGS_FOLDER=$here
export PAIRMILL_COMMAND=$pairmill PAIRMILL_RECIPE=$recipe PAIRMILL_RUN_FOLDER=${4:-$work/run}
export PAIRMILL_RETRIES=0 # a task that waits for its next try would keep dags test waiting
export PAIRMILL_FOLDER=${PAIRMILL_FOLDER:-$(dirname "$recipe")}
"$venv/bin/airflow" db migrate >"$work/migrate.log" 2>&1 || { cat "$work/migrate.log"; exit 1; }
timeout "${AIRFLOW_TIMEOUT:-600}" "$venv/bin/airflow" dags test pairmill_refresh --dagfile-path "$here/pairmill_refresh.py" 2>&1 | tee "$work/dag.log"
# dags test ends with exit code 0 whatever became of the run
grep -qE "(DagRun Finished|Marking run).*(state=success|successful)" "$work/dag.log" || { echo "the DAG run did not succeed"; exit 1; }
echo "the DAG run succeeded"

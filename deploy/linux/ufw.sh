#!/bin/sh
# Set up a firewall for one machine that allows access only to ssh and the proxy. The service, PostgreSQL, Redis, Milvus
# and the exporters listen on the loopback interface. To give a private network access to the service, PostgreSQL, Redis
# and Milvus, pass its address: deploy/linux/ufw.sh 10.0.0.0/24
set -eu
ufw default deny incoming
ufw default allow outgoing
ufw limit OpenSSH
ufw allow 80/tcp
ufw allow 443/tcp
if [ $# -gt 0 ]; then
    for port in 9595 5432 6379 6380 19530; do ufw allow from "$1" to any port "$port" proto tcp; done
fi
ufw --force enable

#!/usr/bin/env bash
# Makes an authority and, of it, a certificate for each host, to try TLS with or to run a small fleet on:
#   bash deploy/certificates.sh DIRECTORY HOST...
# Writes DIRECTORY/ca.crt and ca.key, and for each HOST a HOST.crt and HOST.key, good for serving and for dialling.
# An authority that is there is used again. Keep ca.key away from the hosts.
set -euo pipefail
directory=${1:?usage: certificates.sh DIRECTORY HOST...}
shift
mkdir -p "$directory"
umask 077
ca=$directory/ca
if [ ! -e "$ca.key" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Caravan" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" -keyout "$ca.key" -out "$ca.crt"
fi
for host in "$@"; do
  case $host in
    *[!0-9.]*) [[ $host == *:* ]] && name=IP:$host || name=DNS:$host ;;
    *) name=IP:$host ;;
  esac
  own=$directory/$host
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$host" -keyout "$own.key" -out "$own.csr"
  openssl x509 -req -in "$own.csr" -CA "$ca.crt" -CAkey "$ca.key" -days 365 -out "$own.crt" -extfile - <<END
subjectAltName=$name
extendedKeyUsage=serverAuth,clientAuth
keyUsage=critical,digitalSignature
END
  rm "$own.csr"
done

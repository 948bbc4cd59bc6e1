#!/usr/bin/env bash
# Starts a Slurm of one node on this machine, for trying docs/cluster/slurm.sh. Needs root and Debian's packages
# slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge libpmix-dev openmpi-bin. usage: one_node_slurm.sh FOLDER
set -euo pipefail
folder=${1:?usage: one_node_slurm.sh FOLDER}
mkdir -p "$folder"/{state,spool,log} /run/munge
host=$(hostname)
cat > /etc/slurm/slurm.conf <<CONF
ClusterName=one
SlurmctldHost=$host
SlurmUser=root
AuthType=auth/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
NodeName=$host CPUs=$(nproc) State=UNKNOWN
PartitionName=main Nodes=$host Default=YES State=UP
CONF
chown munge /run/munge
pgrep munged > /dev/null || su -s /bin/bash munge -c munged
pgrep slurmctld > /dev/null || slurmctld
pgrep slurmd > /dev/null || slurmd
for _ in $(seq 20); do sinfo -h -o %T | grep -q idle && break; sleep 1; done
sinfo

#!/usr/bin/env bash
# A Slurm cluster of this machine alone, without systemd and accounting, for tests:
#   cluster.sh start DIR CONTROLLER_PORT NODE_PORT NUM_NODES CPUS_PER_NODE
#   cluster.sh stop DIR
# Exit status 3: it cannot be had here, and the reason is on standard error. Everything that it writes is in DIR.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
action=$1
dir=$2
export SLURM_CONF=$dir/slurm.conf

impossible() {
    echo "$1" >&2
    exit 3
}

# A daemon that has ended may stay behind as a zombie where nobody reaps it.
runs() {
    local pid
    pid=$(cat "$dir/$1.pid" 2>/dev/null) && [ -n "$pid" ] && [ "$(cut -c1-15 "/proc/$pid/comm" 2>/dev/null)" = "${1%%-*}" ] &&
        ! grep -q '^State:[[:space:]]*[ZX]' "/proc/$pid/status"
}

stop() {
    [ -f "$SLURM_CONF" ] || return 0
    timeout 5 scancel --quiet --user="$(id -un)" 2>/dev/null || true
    local name file
    for file in "$dir"/slurmd-*.pid "$dir/slurmctld.pid" "$dir/munged.pid"; do
        name=$(basename "$file" .pid)
        runs "$name" || continue
        kill "$(cat "$file")"
        for _ in $(seq 50); do runs "$name" || break; sleep 0.1; done
        runs "$name" && kill -KILL "$(cat "$file")" || true
    done
}

start() {
    local controller_port=$1 node_port=$2 num_nodes=$3 cpus=$4 host memory number
    [ "$(uname)" = Linux ] || impossible "needs Linux"
    for program in munged slurmctld slurmd sbatch srun; do
        command -v "$program" >/dev/null || impossible "$program is not installed (Debian: slurm-wlm and munge)"
    done
    [ "$(id -u)" = 0 ] || impossible "slurmd needs root"
    host=$(hostname -s)
    memory=$(slurmd -C | sed -n 's/.*RealMemory=\([0-9]*\).*/\1/p')
    mkdir -p "$dir/state"
    chmod 755 "$dir" "$dir/state"
    (umask 077 && head -c 128 /dev/urandom >"$dir/munge.key")
    # A job that is queued again waits for its credential to expire, at least 5 s; less counts as the default, two minutes.
    cat >"$SLURM_CONF" <<CONF
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$controller_port
SlurmUser=root
SlurmdUser=root
AuthInfo=socket=$dir/munge.socket,cred_expire=5
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
CONF
    local nodes=()
    for number in $(seq "$num_nodes"); do
        nodes+=("node$number")
        # as many CPUs as the tests want: they share the real ones
        echo "NodeName=node$number NodeHostname=$host NodeAddr=127.0.0.1 Port=$((node_port + number))" \
            "CPUs=$cpus RealMemory=$((memory * 8 / 10 / num_nodes)) State=UNKNOWN" >>"$SLURM_CONF"
        mkdir -p "$dir/spool-node$number"
    done
    echo "PartitionName=low Nodes=ALL Default=YES PriorityTier=1 PreemptMode=REQUEUE GraceTime=2" >>"$SLURM_CONF"
    echo "PartitionName=high Nodes=ALL PriorityTier=2 PreemptMode=OFF" >>"$SLURM_CONF"

    munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
        --log-file="$dir/munged.log" --seed-file="$dir/munged.seed" || impossible "munged does not start: $(tail -n 1 "$dir/munged.log")"
    slurmctld -i || impossible "slurmctld does not start: $(tail -n 1 "$dir/slurmctld.log")"
    for node in "${nodes[@]}"; do
        slurmd -N "$node" || impossible "slurmd does not start: $(tail -n 1 "$dir/slurmd-$node.log")"
    done
    for _ in $(seq 100); do
        [ "$(timeout 3 sinfo --noheader --Node --partition=low --states=idle --format=%N 2>/dev/null | wc -l)" = "$num_nodes" ] && return
        sleep 0.2
    done
    impossible "the nodes do not come up: $(timeout 3 sinfo --noheader --Node --format='%N %T %E' 2>&1 | tr '\n' ' ')"
}

shift 2
"$action" "$@"

#!/bin/sh
# A small SLURM of its own on this machine, for judging job scripts: two machines that are one, eight cards each that are
# plain files. It needs root, Debian's slurmctld, slurmd and munge, and no systemd.
# Usage: slurm.sh start FOLDER   (then SLURM_CONF=FOLDER/slurm.conf sbatch ...);   slurm.sh stop FOLDER
set -eu

folder=${2:?slurm.sh start|stop FOLDER}

stop() {
    for name in slurmctld slurmd-rigfit1 slurmd-rigfit2 munged; do
        [ -f "$folder/$name.pid" ] && kill "$(cat "$folder/$name.pid")" 2>/dev/null
    done
    return 0
}

wait_for() { # WHAT COMMAND...
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        if [ "$tries" -gt 60 ]; then
            echo "slurm.sh: $what does not come up; see $folder" >&2
            stop
            exit 1
        fi
        sleep 0.5
    done
}

is_idle() { SLURM_CONF=$folder/slurm.conf sinfo -h -o %T | grep -qx idle; }

start() {
    mkdir -p "$folder/state" "$folder/spool"
    chmod 700 "$folder"
    for card in 0 1 2 3 4 5 6 7; do : >"$folder/card$card"; done
    dd if=/dev/urandom of="$folder/munge.key" bs=128 count=1 2>/dev/null
    chmod 600 "$folder/munge.key"
    munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munged.log" --seed-file="$folder/munged.seed"
    wait_for munged test -S "$folder/munge.socket"

    printf 'Name=gpu File=%s/card[0-7]\n' "$folder" >"$folder/gres.conf"
    host=$(hostname -s)
    cat >"$folder/slurm.conf" <<END
ClusterName=rigfit
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
SlurmctldPort=16817
StateSaveLocation=$folder/state
SlurmctldPidFile=$folder/slurmctld.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdSpoolDir=$folder/spool/%n
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmdLogFile=$folder/slurmd-%n.log
SlurmdParameters=config_overrides
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=1,sched_interval=1
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=15
ReturnToService=2
GresTypes=gpu
NodeName=rigfit1 NodeHostname=$host NodeAddr=127.0.0.1 Port=16818 CPUs=128 RealMemory=4000000 Gres=gpu:8 State=UNKNOWN
NodeName=rigfit2 NodeHostname=$host NodeAddr=127.0.0.1 Port=16819 CPUs=128 RealMemory=4000000 Gres=gpu:8 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
    export SLURM_CONF="$folder/slurm.conf"
    slurmctld -c
    for node in rigfit1 rigfit2; do slurmd -c -N "$node"; done
    wait_for "a machine of SLURM" is_idle
}

case ${1:-} in
start) start ;;
stop) stop ;;
*)
    echo "usage: slurm.sh start|stop FOLDER" >&2
    exit 2
    ;;
esac

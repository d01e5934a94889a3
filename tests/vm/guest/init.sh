#!/bin/busybox sh
# Pid 1 of the guest: mounts what a systemd host would have mounted, runs the slice, powers off.
# The console (ttyS0) is for people; results go to ttyS1, a line each.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts -o ptmxmode=0666
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup -o nsdelegate
mount -t securityfs securityfs /sys/kernel/security
hostname guest
ip link set lo up 2>/dev/null || busybox ip link set lo up
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
done
# As under systemd: nothing but cgroups stands in the root cgroup.
mkdir -p /sys/fs/cgroup/init.scope
echo $$ > /sys/fs/cgroup/init.scope/cgroup.procs
stty -F /dev/ttyS1 raw -echo 2>/dev/null || busybox stty -F /dev/ttyS1 raw -echo
echo "{\"up\": true}" > /dev/ttyS1
export PYTHONPATH=/work:/work/site:/work/guest PYTHONDONTWRITEBYTECODE=1
read -r only < /work/only
# shellcheck disable=SC2086
python3 /work/guest/runner.py --results /dev/ttyS1 $only
sync
busybox poweroff -f

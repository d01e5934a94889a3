#!/bin/busybox sh
# The guest's first program: inserts the modules that it takes to see the disks, then hands over to the root image.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
$b mount -t devtmpfs dev /dev
for module in @MODULES@; do
    $b insmod $module || echo "initramfs: $module failed"
done
tries=50
while [ ! -b /dev/vdb ] && [ $tries -gt 0 ]; do
    $b usleep 100000
    tries=$((tries - 1))
done
$b mount -t ext4 /dev/vda /root || { echo "initramfs: no root"; $b poweroff -f; }
$b mount -t ext4 /dev/vdb /root/work || { echo "initramfs: no work image"; $b poweroff -f; }
exec $b switch_root /root /bin/busybox sh /work/guest/init.sh

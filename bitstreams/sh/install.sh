#!/bin/sh
# Installs a built bitstream on this board, with the rules and units that its users need, and loads it:
#
#   sudo ./install.sh            install
#   sudo ./install.sh --load     install, then load it in place of whatever is loaded
#
# Nothing is done unless the manifest says that the bitstream was built, and its hash is the manifest's.
set -eu
cd "$(dirname "$0")"

fail() { echo "install.sh: $1" >&2; exit "${2:-1}"; }
field() { sed -n 's/^ *"'"$1"'": "\([^"]*\)".*/\1/p' manifest.json; }

case "${1:-}" in
    '' | --load) ;;
    *) fail "unknown argument $1; there is --load" 2 ;;
esac
app=$(field application)
bin=out/$app.bit.bin
# names that the overlay gives to the registers and to the buffer
uio=$(sed -n 's/.*linux,uio-name = "\(.*\)";.*/\1/p' tercet.dts)
buffer=$(sed -n 's/.*device-name = "\(.*\)";.*/\1/p' tercet.dts)
case "$(field evidence)" in
    built | verified) ;;
    *) fail "the manifest says that no bitstream was built; run build.tcl on a machine with Vivado and copy the folder again" 65 ;;
esac
[ -f "$bin" ] || fail "$bin is missing; copy the folder out/ as well" 66
grep -q "$(sha256sum "$bin" | cut -d' ' -f1)" manifest.json || fail "$bin is not the file that the manifest describes" 65
[ "$(id -u)" = 0 ] || fail "run this with sudo" 77

# the overlay
if command -v dtc >/dev/null; then
    dtc -q -@ -I dts -O dtb -o "out/$app.dtbo" tercet.dts
elif [ ! -f "out/$app.dtbo" ]; then
    fail "no dtc: apt-get install device-tree-compiler"
fi

# the application, as the board's loader wants it
folder=/lib/firmware/xilinx/$app
install -d "$folder"
install -m 644 "$bin" "out/$app.dtbo" shell.json manifest.json "$folder/"

# who may use it, and the kernel's modules
install -m 644 tercet.sysusers /usr/lib/sysusers.d/tercet.conf
systemd-sysusers /usr/lib/sysusers.d/tercet.conf
install -m 644 60-tercet.rules /etc/udev/rules.d/
install -m 644 tercet-check@.service /etc/systemd/system/
printf 'options uio_pdrv_genirq of_id=generic-uio\n' > /etc/modprobe.d/tercet.conf
printf 'uio_pdrv_genirq\nu-dma-buf\n' > /etc/modules-load.d/tercet.conf
systemctl daemon-reload
udevadm control --reload
modprobe uio_pdrv_genirq of_id=generic-uio || fail "the kernel has no uio_pdrv_genirq"
modprobe u-dma-buf || fail "the kernel has no u-dma-buf: build it from github.com/ikwzm/udmabuf"

if [ "${1:-}" = --load ]; then
    xmutil unloadapp || true
    xmutil loadapp "$app"
    udevadm settle
    # an overlay counts as loaded even if no driver took what is in it
    state=$(cat /sys/class/fpga_manager/fpga0/state)
    [ "$state" = operating ] || fail "xmutil loaded $app, but the logic is in state '$state'; see dmesg" 69
    grep -qx "$uio" /sys/class/uio/*/name 2>/dev/null || fail "$app is loaded, but no UIO node has the name $uio; see dmesg" 69
    [ -e "/dev/$buffer" ] || fail "$app is loaded, but there is no /dev/$buffer: too little contiguous memory? boot with a larger cma=" 69
    echo "loaded $app; now: host doctor --backend axi"
else
    echo "installed $app; now: sudo xmutil unloadapp; sudo xmutil loadapp $app"
fi

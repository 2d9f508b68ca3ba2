#!/bin/sh
# Loads a built bitstream into a card by JTAG while its host runs:
#
#   sudo ./load.sh 0000:3b:00.0     the card's place on the bus: lspci -d 10ee:
#
# The card is taken off the bus first: reconfiguring one that the host talks to can hang or crash the host. What is loaded
# is gone after a power cycle. If the card does not come back, reboot without cutting its power.
set -eu
cd "$(dirname "$0")"

fail() { echo "load.sh: $1" >&2; exit "${2:-1}"; }
field() { sed -n 's/^ *"'"$1"'": "\([^"]*\)".*/\1/p' manifest.json; }

place=${1:-}
case "$place" in
    ????:??:??.?) ;;
    *) fail "give the card's place on the bus, as lspci -D -d 10ee: shows it" 2 ;;
esac
app=$(field application)
bit=out/$app.bit
case "$(field evidence)" in
    built | verified) ;;
    *) fail "the manifest says that no bitstream was built; run build.tcl first" 65 ;;
esac
[ -f "$bit" ] || fail "$bit is missing" 66
grep -q "$(sha256sum "$bit" | cut -d' ' -f1)" manifest.json || fail "$bit is not the file that the manifest describes" 65
[ "$(id -u)" = 0 ] || fail "run this with sudo" 77
command -v vivado >/dev/null || fail "vivado (or the Vivado Lab Edition) is not on root's PATH; source its settings64.sh first"

modprobe -r xdma 2>/dev/null || ! lsmod | grep -q '^xdma ' || fail "the xdma driver is in use; end the programs at the card" 75
[ ! -e "/sys/bus/pci/devices/$place" ] || echo 1 > "/sys/bus/pci/devices/$place/remove"
vivado -mode batch -nojournal -nolog -source program.tcl -tclargs "$bit"
echo 1 > /sys/bus/pci/rescan
[ -e "/sys/bus/pci/devices/$place" ] || fail "the card has not come back; reboot the host without cutting its power"
modprobe xdma
echo "loaded $app; now: host doctor --backend xdma --manifest $PWD/manifest.json"

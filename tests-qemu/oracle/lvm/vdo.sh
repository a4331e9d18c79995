mkdir -p /tmp/pv
vgcreate -q -s 4m vd $BIG
lvcreate -q -y --type vdo -L 5g -V 20g -n lv vd/pool
dump vd

# A Debian root on a mirror whose other half was taken out.
partitions 1380M
create 1 "A B" /dev/md/root --assume-clean --bitmap=internal --level=1 --raid-devices=2 --metadata=1.2 --homehost=rootward-test --name=root --uuid=11111111:22222222:33333333:44444401
mdadm /dev/md/root --fail ${B}1 --remove ${B}1
mdadm --zero-superblock ${B}1
after() { printf 'mdadm --detail /dev/md127\nmdadm --manage /dev/md127 --add /dev/vdb1\ncat /proc/mdstat\n' >/new/etc/rootward-commands; }
fill /dev/md/root after
stop_all

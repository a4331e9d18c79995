pvs st 8 512
# A thin pool with its data in a cache.
lvcreate -q -Wn -L 64m -n data st
lvcreate -q -y --type cache-pool -L 16m --poolmetadatasize 4m -n fast st
lvconvert -q -y --type cache --cachepool st/fast st/data
lvcreate -q -Wn -L 4m -n meta st
lvconvert -q -y --type thin-pool --poolmetadata st/meta st/data
lvcreate -q -V 64m -n cachedthin st/data
# A thin pool on RAID 5 and RAID 1, with an external origin on RAID 1.
lvcreate -q -Wn --type raid5 -i 2 -L 64m -n rpool st
lvcreate -q -Wn --type raid1 -m 1 -L 4m -n rmeta st
lvcreate -q -Wn --type raid1 -m 1 -L 16m -n router st
settle st
lvconvert -q -y --type thin-pool --poolmetadata st/rmeta st/rpool
lvcreate -q -V 64m -n raidthin st/rpool
lvchange -q -an st/router; lvchange -q -pr st/router
lvcreate -q -s --thinpool st/rpool -n onraid st/router
# A cache on RAID 5 whose pool is on RAID 1.
lvcreate -q -Wn --type raid5 -i 2 -L 64m -n slow st
lvcreate -q -Wn --type raid1 -m 1 -L 16m -n cpool st
lvcreate -q -Wn --type raid1 -m 1 -L 8m -n cmeta st
settle st
lvconvert -q -y --type cache-pool --poolmetadata st/cmeta st/cpool
lvconvert -q -y --type cache --cachepool st/cpool st/slow
# A snapshot of a cache with a cachevol.
lvcreate -q -Wn -L 32m -n vslow st
lvcreate -q -Wn -L 16m -n vfast st
lvconvert -q -y --type cache --cachevol st/vfast st/vslow
lvcreate -q -s -L 4m -n vslow_s st/vslow || true
# Thin pool on a writecache; a snapshot of a RAID with integrity.
lvcreate -q -Wn --type raid1 -m 1 --raidintegrity y -L 16m -n intraid st
settle st
lvcreate -q -s -L 4m -n intraid_s st/intraid || true
# Linear to raid1 and RAID conversions leave their own marks.
lvcreate -q -Wn -L 16m -n up st
lvconvert -q -y --type raid1 -m 1 st/up
lvcreate -q -Wn --type raid5 -i 2 -L 16m -n takeover st
settle st
lvconvert -q -y --type raid6 st/takeover || true
settle st
lvcreate -q -Wn --type raid5 -i 3 -L 24m -n reshaped st
settle st
lvconvert -q -y --stripes 4 st/reshaped || true
settle st
dump st

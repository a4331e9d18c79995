pvs ca 6 256
for mode in writethrough writeback passthrough; do
    lvcreate -q -Wn -l 32 -n p$mode ca
    lvcreate -q -y --type cache-pool -l 16 --poolmetadatasize 4m -n pool$mode ca
    lvconvert -q -y --type cache --cachemode $mode --cachepool ca/pool$mode ca/p$mode
    lvcreate -q -Wn -l 32 -n v$mode ca
    lvcreate -q -Wn -l 16 -n vol$mode ca
    lvconvert -q -y --type cache --cachemode $mode --cachevol ca/vol$mode ca/v$mode
done
lvcreate -q -Wn -l 16 -n settings ca
lvcreate -q -y --type cache-pool -l 16 -c 128k --poolmetadatasize 4m -n psettings ca
lvconvert -q -y --type cache --cachepolicy mq --cachesettings 'migration_threshold=4096 random_threshold=8' --cachepool ca/psettings ca/settings
lvcreate -q -Wn -l 16 -n cleaner ca
lvcreate -q -y --type cache-pool -l 16 --poolmetadatasize 4m -n pcleaner ca
lvconvert -q -y --type cache --cachepolicy cleaner --cachepool ca/pcleaner ca/cleaner
lvcreate -q -Wn -l 16 -n format1 ca
lvcreate -q -y --type cache-pool -l 16 --poolmetadatasize 4m -n pformat1 ca
lvconvert -q -y --type cache --cachemetadataformat 1 --cachepool ca/pformat1 ca/format1
lvcreate -q -Wn -l 16 -n smqset ca
lvcreate -q -y --type cache-pool -l 16 --poolmetadatasize 4m -n psmqset ca
lvconvert -q -y --type cache --cachesettings 'migration_threshold=4096' --cachepool ca/psmqset ca/smqset
lvcreate -q -Wn -i 2 -l 16 -n striped ca
lvcreate -q -Wn -i 2 -l 16 -n pstriped ca
lvcreate -q -Wn -l 5 -n pstripedmeta ca
lvconvert -q -y --type cache-pool --poolmetadata ca/pstripedmeta ca/pstriped
lvconvert -q -y --type cache --cachepool ca/pstriped ca/striped
lvcreate -q -Wn --type raid1 -m 1 -l 16 -n raid ca
settle ca
lvcreate -q -y --type cache-pool -l 16 --poolmetadatasize 4m -n praid ca
lvconvert -q -y --type cache --cachepool ca/praid ca/raid
lvcreate -q -s -l 4 -n cached_s ca/pwritethrough || true
lvcreate -q -y --type cache-pool -l 16 --poolmetadatasize 4m -n lonely ca
dump ca
superblock ca poolwritethrough_cpool_cmeta

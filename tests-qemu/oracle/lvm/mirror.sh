pvs mi 5 64
lvcreate -q -Wn --type mirror -m 1 --mirrorlog core -l 4 -n core mi
lvcreate -q -Wn --type mirror -m 1 --mirrorlog disk -l 4 -n disk mi
lvcreate -q -Wn --type mirror -m 2 --mirrorlog disk -R 1m -l 4 -n three mi
lvcreate -q -Wn --type mirror -m 1 --mirrorlog mirrored -l 4 -n mirrored mi || true
lvcreate -q -Wn --type mirror -m 1 --mirrorlog disk --nosync -l 4 -n nosync mi
lvcreate -q -Wn --type mirror -m 1 --mirrorlog core --nosync -l 4 -n corenosync mi
lvcreate -q -Wn --type mirror -m 1 -i 2 -l 4 -n striped mi || true
dump mi

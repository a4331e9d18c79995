//! Network, network roots, storage over the network, s390.

use super::{Family, Kind, Row, means, old, same};

const F: Family = Family::Network;

pub(super) static ROWS: &[Row] = &[
    Row::later("ip", Kind::List(None), "How a network interface is configured.")
        .syntax("METHOD, IF:METHOD, or CLIENT:[PEER]:[GW]:[MASK]:[HOST]:[IF]:METHOD...")
        .family(F)
        .must(),
    Row::later("rd.neednet", Kind::Flag(false, None), "Brings the network up even without a network root.")
        .family(F)
        .must(),
    Row::later("bootdev", Kind::Text(None), "The primary network interface.").syntax("IF or MAC").family(F),
    Row::later("BOOTIF", Kind::Text(None), "The interface that PXE booted from.")
        .syntax("TT-aa-bb-cc-dd-ee-ff")
        .family(F)
        .must(),
    Row::later("rd.bootif", Kind::Flag(true, None), "Whether `BOOTIF` is used.").family(F),
    Row::later("ifname", Kind::List(None), "Name for the interface with this address.")
        .syntax("NAME:MAC")
        .family(F)
        .must(),
    Row::later("gateway", Kind::Text(None), "Gateway, in the installer's style of `ip=ADDRESS`.")
        .family(F)
        .legacy(),
    Row::later("netmask", Kind::Text(None), "Netmask, in the installer's style of `ip=ADDRESS`.")
        .family(F)
        .legacy(),
    Row::later("hostname", Kind::Text(None), "Host name, in the installer's style of `ip=ADDRESS`.")
        .family(F)
        .legacy(),
    Row::later("ksdevice", Kind::Text(None), "Interface, in the installer's style of `ip=ADDRESS`.")
        .family(F)
        .legacy(),
    Row::later("mtu", Kind::Text(None), "MTU, in the installer's style of `ip=ADDRESS`.").family(F).legacy(),
    Row::later("nameserver", Kind::List(None), "A name server.").syntax("address").family(F).must(),
    Row::later("rd.peerdns", Kind::Flag(true, None), "Whether name servers from DHCP are used.").family(F),
    Row::later("rd.route", Kind::List(None), "A static route.").syntax("NET/MASK:GW[:IF]").family(F),
    Row::later("vlan", Kind::List(None), "A VLAN on an interface.").syntax("NAME:PHYS").family(F).must(),
    Row::later("bond", Kind::List(None), "A bond of interfaces.")
        .syntax("NAME[:SLAVES[:OPTIONS[:MTU]]]")
        .bare()
        .family(F)
        .must(),
    Row::later("team", Kind::List(None), "A team of interfaces.")
        .syntax("NAME[:SLAVES[:RUNNER]]")
        .bare()
        .family(F)
        .legacy(),
    Row::later("bridge", Kind::List(None), "A bridge over interfaces.")
        .syntax("NAME:PORTS")
        .bare()
        .family(F)
        .must(),
    Row::later(
        "rd.net.dhcp.retry",
        Kind::Int { default: 1, min: 1, max: 1_000_000_000, set: None },
        "DHCP attempts per interface.",
    )
    .family(F),
    Row::later("rd.net.timeout.dhcp", Kind::Time(None, None), "Limit of one DHCP attempt.").family(F),
    Row::later("rd.net.timeout.iflink", Kind::Time(Some(60), None), "Wait for an interface to exist.")
        .family(F),
    Row::later("rd.net.timeout.ifup", Kind::Time(Some(20), None), "Wait for an interface to be up.")
        .family(F),
    Row::later("rd.net.timeout.route", Kind::Time(Some(20), None), "Wait for a route.").family(F).legacy(),
    Row::later(
        "rd.net.timeout.ipv6dad",
        Kind::Time(Some(50), None),
        "Wait for IPv6 duplicate address detection.",
    )
    .family(F),
    Row::later("rd.net.timeout.ipv6auto", Kind::Time(Some(40), None), "Wait for an IPv6 router.").family(F),
    Row::later("rd.net.timeout.carrier", Kind::Time(Some(10), None), "Wait for a carrier.").family(F).must(),
    Row::later("netroot", Kind::List(None), "A network transport apart from `root=`.")
        .syntax("URL")
        .family(F)
        .must(),
    Row::passed("net.ifnames", "How the real root's udev names interfaces.").family(F).must(),
    Row::passed("net.naming_scheme", "How the real root's udev names interfaces.")
        .aliases(&[same("net.naming-scheme")])
        .family(F)
        .must(),
    Row::passed("biosdevname", "How the real root's udev names interfaces.").family(F).legacy(),
    Row::inert("rd.ethtool", "it belongs to NetworkManager, which is not in this initramfs.")
        .family(F)
        .legacy(),
    Row::inert("ib.pkey", "it belongs to NetworkManager, which is not in this initramfs.").family(F).legacy(),
    Row::inert("rd.net.dhcp.vendor-class", "it belongs to NetworkManager, which is not in this initramfs.")
        .family(F)
        .legacy(),
    Row::inert("rd.net.dhcp.client-id", "it belongs to NetworkManager, which is not in this initramfs.")
        .family(F)
        .legacy(),
    Row::inert("rd.net.dns", "it belongs to NetworkManager; write nameserver= instead.").family(F).legacy(),
    Row::later("rd.noverifyssl", Kind::Flag(false, None), "Leaves certificates of downloads unverified.")
        .family(F),
    Row::later("proxy", Kind::Text(None), "Proxy for downloads.").syntax("URL").family(F),
    Row::later("nfsroot", Kind::Text(None), "The kernel's NFS root, with `root=/dev/nfs`.")
        .syntax("[SERVER:]PATH[,OPTIONS]")
        .family(F),
    Row::passed("nfsaddrs", "Acted on by a kernel with its own network autoconfiguration.").family(F),
    Row::later("rd.nfs.domain", Kind::Text(None), "NFSv4 id-mapping domain.")
        .aliases(&[old("rd_NFS_DOMAIN")])
        .family(F),
    Row::later("cifsuser", Kind::Text(None), "User for a CIFS root.").family(F),
    Row::later("cifspass", Kind::Text(None), "Password for a CIFS root.").family(F),
    Row::later("iscsiroot", Kind::Text(None), "Old form of `root=iscsi:`.").family(F).legacy(),
    Row::later("rd.iscsi.initiator", Kind::Text(None), "Name of the initiator.")
        .syntax("IQN")
        .aliases(&[old("iscsi_initiator")])
        .family(F)
        .must(),
    Row::later(
        "rd.iscsi.target.group",
        Kind::Int { default: 1, min: 0, max: 65_535, set: None },
        "Portal group tag.",
    )
    .aliases(&[old("iscsi_target_group")])
    .family(F)
    .legacy(),
    Row::inert("rd.iscsi.target.name", "write netroot=iscsi:... instead.")
        .aliases(&[old("iscsi_target_name")])
        .family(F)
        .legacy(),
    Row::inert("rd.iscsi.target.ip", "write netroot=iscsi:... instead.")
        .aliases(&[old("iscsi_target_ip")])
        .family(F)
        .legacy(),
    Row::inert("rd.iscsi.target.port", "write netroot=iscsi:... instead.")
        .aliases(&[old("iscsi_target_port")])
        .family(F)
        .legacy(),
    Row::later("rd.iscsi.username", Kind::Text(None), "CHAP user.")
        .aliases(&[old("iscsi_username")])
        .family(F)
        .must(),
    Row::later("rd.iscsi.password", Kind::Text(None), "CHAP password.")
        .aliases(&[old("iscsi_password")])
        .family(F)
        .must(),
    Row::later("rd.iscsi.in.username", Kind::Text(None), "User of mutual CHAP.")
        .aliases(&[old("iscsi_in_username")])
        .family(F),
    Row::later("rd.iscsi.in.password", Kind::Text(None), "Password of mutual CHAP.")
        .aliases(&[old("iscsi_in_password")])
        .family(F),
    Row::later("rd.iscsi.param", Kind::List(None), "A setting for every login.")
        .syntax("NAME=VALUE")
        .aliases(&[old("iscsi_param")])
        .family(F),
    Row::later(
        "rd.iscsi.login_retry_max",
        Kind::Int { default: 3, min: 0, max: 10_000, set: None },
        "Login attempts.",
    )
    .family(F),
    Row::later("rd.iscsi.firmware", Kind::Flag(false, None), "Logs in to the targets of the firmware table.")
        .aliases(&[means("iscsi_firmware", "1")])
        .family(F)
        .must(),
    Row::later("rd.iscsi.ibft", Kind::Flag(false, None), "Configures interfaces from the firmware table.")
        .family(F)
        .must(),
    Row::later(
        "rd.iscsi.mp",
        Kind::Flag(false, None),
        "Also uses firmware interfaces not selected for boot.",
    )
    .family(F),
    Row::later("rd.iscsi.waitnet", Kind::Flag(false, None), "Waits for all interfaces before connecting.")
        .family(F),
    Row::later("rd.iscsi.testroute", Kind::Flag(true, None), "Skips a target that no route leads to.")
        .family(F),
    Row::later("rd.iscsi.transport", Kind::Text(None), "Offload transport.").family(F).legacy(),
    Row::later("rd.nonvmf", Kind::Flag(false, None), "Skips everything of NVMe over fabrics.").family(F),
    Row::later("rd.nvmf.nonbft", Kind::Flag(false, None), "Ignores the firmware's NVMe table.").family(F),
    Row::later("rd.nvmf.nostatic", Kind::Flag(false, None), "Ignores discovery configuration in the image.")
        .family(F),
    Row::later("rd.nvmf.hostnqn", Kind::Text(None), "Host NQN.").aliases(&[old("nvmf.hostnqn")]).family(F),
    Row::later("rd.nvmf.hostid", Kind::Text(None), "Host id.").aliases(&[old("nvmf.hostid")]).family(F),
    Row::later("rd.nvmf.discover", Kind::List(None), "A discovery controller.")
        .syntax("{tcp,rdma,fc},TRADDR[,[HOST_TRADDR][,TRSVCID]]")
        .aliases(&[old("nvmf.discover")])
        .family(F),
    Row::later("rd.fcoe", Kind::Flag(true, None), "Whether FCoE is started.")
        .aliases(&[means("rd.nofcoe", "0")])
        .family(F)
        .legacy(),
    Row::later("fcoe", Kind::List(None), "FCoE on an interface.")
        .syntax("{edd,IF,MAC}:{dcb,nodcb}[:{fabric,vn2vn}]")
        .family(F)
        .legacy(),
    Row::later("rd.lunmask", Kind::List(None), "Scans only this LUN.")
        .syntax("{fc,sas},ID,LUN")
        .family(F)
        .legacy(),
    Row::later("rd.zfcp", Kind::List(None), "Enables a zFCP LUN.")
        .syntax("BUS[,WWPN,LUN]")
        .aliases(&[old("rd_ZFCP")])
        .family(F)
        .legacy(),
    Row::later("rd.zfcp.conf", Kind::Flag(true, None), "Whether the image's zfcp.conf is used.")
        .aliases(&[means("rd_NO_ZFCPCONF", "0")])
        .family(F)
        .legacy(),
    Row::later("rd.dasd", Kind::List(None), "Enables DASDs.")
        .aliases(&[old("rd_DASD"), old("rd_DASD_MOD"), old("dasd")])
        .family(F)
        .legacy(),
    Row::later("rd.dcssblk", Kind::Text(None), "Loads memory segments.").family(F).legacy(),
    Row::later("rd.znet", Kind::List(None), "Creates a channel network device.")
        .syntax("TYPE,SUB1,SUB2[,SUB3][,OPTION=VALUE...]")
        .aliases(&[old("rd.ccw"), old("rd_CCW"), old("rd_ZNET")])
        .family(F)
        .legacy(),
    Row::later("rd.znet_ifname", Kind::List(None), "Names a channel network device.")
        .syntax("NAME:SUB1,SUB2[,SUB3]")
        .family(F)
        .legacy(),
    Row::later("rd.cio_accept", Kind::Commas(None), "Stops ignoring channel devices.").family(F).legacy(),
    Row::passed("cio_ignore", "The kernel's list of ignored channel devices.").family(F).legacy(),
    Row::later("rd.zipl", Kind::Text(None), "Reads further parameters from this partition.")
        .family(F)
        .legacy(),
    Row::later("CMSDASD", Kind::Text(None), "Installer configuration on a CMS disk.").family(F).legacy(),
    Row::later("CMSCONFFILE", Kind::Text(None), "Installer configuration on a CMS disk.").family(F).legacy(),
];

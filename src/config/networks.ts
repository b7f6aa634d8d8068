import { BlockList, isIP } from 'node:net'

type Family = 'ipv4' | 'ipv6'
type Special = readonly [address: string, prefix: number, family: Family, what: string]

/** Addresses that lead back to this machine, or to one that is never meant; the narrowest first. */
const plain: readonly Special[] = [
  // Where clouds hand out the credentials of a machine.
  ['169.254.169.254', 32, 'ipv4', 'cloud metadata'],
  ['fd00:ec2::254', 128, 'ipv6', 'cloud metadata'],
  ['255.255.255.255', 32, 'ipv4', 'broadcast'],
  ['127.0.0.0', 8, 'ipv4', 'loopback'],
  ['::1', 128, 'ipv6', 'loopback'],
  ['0.0.0.0', 8, 'ipv4', 'unspecified'],
  ['::', 128, 'ipv6', 'unspecified'],
  ['169.254.0.0', 16, 'ipv4', 'link-local'],
  ['fe80::', 10, 'ipv6', 'link-local'],
  ['224.0.0.0', 4, 'ipv4', 'multicast'],
  ['ff00::', 8, 'ipv6', 'multicast'],
  // The same IPv4 address in another spelling, and prefixes that translate into one (RFC 4291, RFC 6052, RFC 8215, RFC 4380, RFC 3056).
  ['::ffff:0:0', 96, 'ipv6', 'IPv4-mapped'],
  ['::', 96, 'ipv6', 'IPv4-compatible'],
  ['64:ff9b::', 96, 'ipv6', 'translated IPv4'],
  ['64:ff9b:1::', 48, 'ipv6', 'translated IPv4'],
  ['2001::', 32, 'ipv6', 'Teredo'],
  ['2002::', 16, 'ipv6', '6to4'],
]

/** What is special stays so where a block lets the spelling of IPv6 in: a socket connects to the IPv4 address. */
const special: readonly Special[] = [
  ...plain
    .filter(([, , family]) => family === 'ipv4')
    .map(([address, prefix, , what]): Special => [`::ffff:${address}`, 96 + prefix, 'ipv6', what]),
  ...plain,
]

/** A CIDR block (RFC 4632, section 3.1; RFC 4291, section 2.3). */
interface Network {
  readonly address: string
  readonly prefix: number
  readonly family: Family
}

/** @returns the block, or what was wrong with the text and what was expected */
export function parseNetwork(text: string): Network | string {
  const [, address = '', length = ''] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? []
  const version = address.includes('%') ? 0 : isIP(address)
  const bits = version === 4 ? 32 : 128
  const prefix = Number(length)
  if (version === 0 || length === '' || prefix > bits) return `"${text}" is no CIDR block: expected one such as 10.0.0.0/8 or fd00::/8`
  if (prefix === 0) return `"${text}" allows every address there is: expected the networks that resources are in`
  const value = addressBits(address, version === 4 ? 'ipv4' : 'ipv6')
  if (value & ((1n << BigInt(bits - prefix)) - 1n)) return `"${text}" has bits behind its prefix: expected the first address of the block`
  return { address, prefix, family: version === 4 ? 'ipv4' : 'ipv6' }
}

/** An address as a number. */
function addressBits(address: string, family: Family): bigint {
  if (family === 'ipv4') return address.split('.').reduce((value, byte) => (value << 8n) | BigInt(byte), 0n)
  // An IPv4 tail (RFC 4291, section 2.2) becomes two groups.
  const text = address.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, a, b, c, d) =>
    [Number(a) * 256 + Number(b), Number(c) * 256 + Number(d)].map((group) => group.toString(16)).join(':'),
  )
  const [head = '', tail] = text.split('::')
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'))
  const [first, last] = [groups(head), groups(tail ?? '')]
  const all = tail === undefined ? first : [...first, ...Array<string>(8 - first.length - last.length).fill('0'), ...last]
  return all.reduce((value, group) => (value << 16n) | BigInt(`0x${group}`), 0n)
}

const specialLists = special.map(([address, prefix, family, what]) => {
  const list = new BlockList()
  list.addSubnet(address, prefix, family)
  return { list, prefix, family, what }
})

/** The special block that an address lies in. */
const specialOf = (address: string, family: Family, prefix: number) =>
  specialLists.find((one) => one.family === family && prefix >= one.prefix && one.list.check(address, family))

/** What is special about a whole block, such as `loopback`; undefined for ordinary ones. */
export const specialNetwork = ({ address, family, prefix }: Network): string | undefined => specialOf(address, family, prefix)?.what

/**
 * Whether an address lies in one of the blocks. One that is special (loopback, link-local, cloud metadata, IPv4 in the spelling
 * of IPv6, …) does only where a block says just that: `0.0.0.0/1` or `10.0.0.0/8` never lets one in.
 */
export function networksAllow(networks: readonly Network[]): (address: string) => boolean {
  // By special block, or by family: a wide block of IPv6 would else let every IPv4 address in, which BlockList takes for a mapped one.
  const within = new Map<BlockList | Family, BlockList>()
  for (const { address, prefix, family } of networks) {
    const kind = specialOf(address, family, prefix)?.list ?? family
    const list = within.get(kind) ?? new BlockList()
    within.set(kind, list)
    list.addSubnet(address, prefix, family)
  }
  return (address) => {
    const version = isIP(address)
    if (version === 0 || address.includes('%')) return false
    const family = version === 4 ? 'ipv4' : 'ipv6'
    return within.get(specialOf(address, family, 128)?.list ?? family)?.check(address, family) ?? false
  }
}

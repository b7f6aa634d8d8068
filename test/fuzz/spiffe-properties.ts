import assert from 'node:assert/strict'
import fc from 'fast-check'
import { certificateSpiffeId, parseSpiffeId } from '../../src/core/spiffe.ts'
import { property } from './property.ts'

const piece = fc.constantFrom(
  ...[
    'spiffe://',
    'SPIFFE://',
    'spiffe:/',
    'cluster.local',
    'Cluster.Local',
    '/',
    '//',
    'ns',
    'sa',
    'router',
    '.',
    '..',
    '%2e',
    '%2f',
    ':',
    ':8080',
    '@',
    '?',
    '#',
  ],
  ...['a', 'A', '-', '_', ' ', '\u0000', '\u00e4', ',', ', URI:spiffe://evil/x', '"', '\\', "'", 'x'.repeat(2040)],
)
const id = fc
  .tuple(fc.constantFrom('spiffe://', 'spiffe://', 'spiffe://cluster.local/', ''), fc.array(piece, { maxLength: 7 }))
  .map(([first, rest]) => first + rest.join(''))

/** SPIFFE-ID, section 2, a character at a time. */
function plainly(text: string): { id: string; trustDomain: string } | undefined {
  if (text.length > 2048 || text.slice(0, 9) !== 'spiffe://') return undefined
  const [domain = '', ...segments] = text.slice(9).split('/')
  const all = (part: string, characters: string) => [...part].every((char) => characters.includes(char))
  const lower = 'abcdefghijklmnopqrstuvwxyz0123456789.-_'
  if (domain === '' || domain.length > 255 || !all(domain, lower) || segments.length === 0) return undefined
  for (const part of segments)
    if (part === '' || part === '.' || part === '..' || !all(part, `${lower}ABCDEFGHIJKLMNOPQRSTUVWXYZ`)) return undefined
  return { id: text, trustDomain: domain }
}

const name = fc.oneof(
  { weight: 3, arbitrary: id },
  fc.constantFrom('edge.example', 'a, URI:spiffe://evil/x', 'URI:spiffe://evil/x', '1.2.3.4', '', '"'),
)
const entry = fc.tuple(fc.constantFrom('DNS', 'URI', 'URI', 'IP Address', 'email', 'DirName', 'othername'), name)
/** Whether Node writes a value of subjectAltName as it is. */
const isPlain = (value: string): boolean => /^[\x20-\x7e]*$/.test(value) && !/[",'\\]/.test(value)
const asNode = (value: string): string => (isPlain(value) ? value : JSON.stringify(value))

/** SPIFFE IDs, alone and in certificates. */
export const spiffeProperties = [
  property('spiffe: read as a plain reading of the standard reads it', id, (text) => assert.deepEqual(parseSpiffeId(text), plainly(text)), {
    weight: 20,
  }),
  property(
    'spiffe: no other spelling of an ID is that ID',
    fc.tuple(id, fc.nat(9)),
    ([text, how]) => {
      const workload = parseSpiffeId(text)
      if (!workload) return
      const path = text.slice(`spiffe://${workload.trustDomain}`.length)
      const other = [
        `SPIFFE://${workload.trustDomain}${path}`,
        `spiffe://${workload.trustDomain.toUpperCase()}X${path}`,
        `spiffe://${workload.trustDomain}.${path}/`,
        `${text}/`,
        `${text}?x`,
        `${text}#`,
        `spiffe://x@${workload.trustDomain}${path}`,
        `spiffe://${workload.trustDomain}:443${path}`,
        `spiffe://${workload.trustDomain}/.${path}`,
        `spiffe://${workload.trustDomain}${path.replace(/[a-zA-Z]/, (char) => `%${char.charCodeAt(0).toString(16)}`)}%20`,
      ][how]!
      assert.equal(parseSpiffeId(other), undefined, other)
    },
    { weight: 5 },
  ),
  property(
    'spiffe: a certificate names its one URI, and none where it has several',
    fc.array(entry, { maxLength: 5 }),
    (entries) => {
      const uris = entries.filter(([kind]) => kind === 'URI').map(([, value]) => value)
      const expected = uris.length === 1 && isPlain(uris[0]!) ? plainly(uris[0]!) : undefined
      const text = entries.map(([kind, value]) => `${kind}:${asNode(value)}`).join(', ')
      assert.deepEqual(certificateSpiffeId(text), expected, text)
    },
    { weight: 10 },
  ),
  property(
    'spiffe: never throws about any names of a certificate',
    fc.string({ unit: 'binary', maxLength: 60 }),
    (text) => void certificateSpiffeId(text),
    { weight: 3 },
  ),
]

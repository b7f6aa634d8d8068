import assert from 'node:assert/strict'
import fc from 'fast-check'
import { asking, type Presented, type Wanted } from './asking.ts'
import { type Asked, apiKey, ingress, now, openPipeline } from './pipeline.ts'
import type { Opened, Property } from './property.ts'
import { length, repeated, textOf } from './repeated.ts'

/** A check takes a fraction of a millisecond; whatever is in a request must not make it a pause for all others. */
const boundMs = 100

const claims = JSON.stringify({ iss: 'https://here.example', aud: 'edge', sub: 'alice', exp: now / 1000 + 300, roles: ['invoke'] })
const nobody: Presented = { kind: 'none', payload: undefined, by: 'issuer', secret: '', headers: [], peer: '', user: '' }
const callers = fc.constantFrom<Presented>(
  nobody,
  { ...nobody, kind: 'here', payload: claims },
  { ...nobody, kind: 'cookie', payload: claims },
  { ...nobody, kind: 'key-header', secret: apiKey.carol },
  { ...nobody, kind: 'edge', peer: ingress, headers: [['x-user-id', 'frank']] },
)

type Place = (asked: Asked, text: string) => Asked
const header =
  (name: string): Place =>
  (asked, text) => ({ ...asked, headers: [...asked.headers, [name, text]] })
const names = [
  'authorization',
  'cookie',
  'sec-websocket-protocol',
  'x-api-key',
  'x-session-id',
  'x-user-roles',
  'x-end-user',
  'dpop',
  'x-postern-x',
  'x-forwarded-client-cert',
]
const places: Readonly<Record<string, Place>> = {
  query: (asked, text) => ({ ...asked, query: `?${text}` }),
  path: (asked, text) => ({ ...asked, path: asked.path + text }),
  host: (asked, text) => ({ ...asked, host: text }),
  'names of headers': (asked, text) => ({
    ...asked,
    headers: [
      ...asked.headers,
      ...Array.from({ length: 2000 }, (_, i): [string, string] => [`x${i % 2 === 0 ? '-' : '_'}postern-${i}`, text.slice(0, 16)]),
    ],
  }),
  ...Object.fromEntries(names.map((name) => [name, header(name)])),
}

const input = fc.record({
  who: callers,
  path: fc.constantFrom('/any', '/query', '/maybe', '/mode', '/session', '/console/x', '/healthz', '/owned/s-alice/x'),
  place: fc.constantFrom(...Object.keys(places), 'query', 'query', 'query'),
  text: repeated,
})

/** The same for a whole check: what one reader leaves to the next counts too. */
export const pipelineTime: Property = {
  name: `time: a whole check of a request with ${length / 1024} KiB in any of its places`,
  weight: 4,
  few: 300,
  open: async () => {
    const { decide, close } = await openPipeline()
    const checkLater = async ({
      who,
      path,
      place,
      text,
    }: {
      who: Presented
      path: string
      place: string
      text: Parameters<typeof textOf>[0]
    }) => {
      const what: Wanted = { method: 'GET', host: 'edge.example', path, query: [], headers: [] }
      const asked = places[place]!(asking(what, who, 'headers'), textOf(text))
      let least = Number.POSITIVE_INFINITY
      for (let i = 0; i < 3 && least > boundMs; i++) least = Math.min(least, (await decide(asked)).ms)
      assert.ok(least <= boundMs, `it took ${Math.round(least)} ms`)
    }
    return { inputs: input, check: () => {}, checkLater, close } as Opened<
      typeof input extends fc.Arbitrary<infer T> ? T : never
    > as unknown as Opened<unknown>
  },
}

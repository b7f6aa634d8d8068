import assert from 'node:assert/strict'
import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Fault } from '../../src/config/faults.ts'
import type { Loaded } from '../../src/config/read.ts'
import { type Watch, watchPolicy } from '../../src/config/watch.ts'
import { load, policyFiles, usual } from './policy-files.ts'

type Event = { readonly loaded: Loaded } | { readonly faults: readonly Fault[] }

/** Starts a watch; `next` waits at most 1 s for what it tells, the promise of the design. */
async function start(
  file: string,
): Promise<{ watch: Watch; next: () => Promise<Event>; quiet: (ms: number) => Promise<void>; current: Loaded }> {
  const current = await load(file)
  const events: Event[] = []
  let wake = (): void => {}
  const tell = (event: Event): void => {
    events.push(event)
    wake()
  }
  const watch = watchPolicy(current, { file, env: {}, onPolicy: (loaded) => tell({ loaded }), onFaults: (faults) => tell({ faults }) })
  const next = (): Promise<Event> =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('nothing was told within 1 s')), 1000)
      const take = (): void => {
        const event = events.shift()
        if (!event) return
        clearTimeout(timer)
        wake = () => {}
        resolve(event)
      }
      wake = take
      take()
    })
  const quiet = async (ms: number): Promise<void> => {
    await new Promise((resolve) => setTimeout(resolve, ms))
    assert.deepEqual(events, [])
  }
  return { watch, next, quiet, current }
}

const loadedOf = (event: Event): Loaded => ('loaded' in event ? event.loaded : assert.fail(JSON.stringify(event.faults)))
const faultsOf = (event: Event): readonly Fault[] => ('faults' in event ? event.faults : assert.fail('a policy was told'))
const renamed = usual.replace('id: health', 'id: alive')

/** In one step: a look that falls between emptying a file and writing it finds a policy without content. */
async function replace(file: string, text: string): Promise<void> {
  await writeFile(`${file}.new`, text)
  await rename(`${file}.new`, file)
}

describe('watchPolicy', () => {
  let open: Watch | undefined
  afterEach(() => open?.close())

  it('tells a file that was written in place, and one that was renamed over it', async () => {
    const file = await policyFiles({ 'postern.yaml': usual })
    const { watch, next, quiet, current } = await start(file)
    open = watch
    await quiet(700)
    await writeFile(file, renamed)
    const first = loadedOf(await next())
    assert.equal(first.policy.routes.routes[0]?.id, 'alive')
    assert.notEqual(first.revision, current.revision)
    await writeFile(`${file}.new`, usual)
    await rename(`${file}.new`, file)
    assert.equal(loadedOf(await next()).revision, current.revision)
  })

  it('tells a ConfigMap whose links were swapped', async () => {
    const file = await policyFiles({})
    const folder = dirname(file)
    for (const [name, text] of Object.entries({ '..one': usual, '..two': renamed })) {
      await mkdir(join(folder, name))
      await writeFile(join(folder, name, 'postern.yaml'), text)
    }
    await symlink('..one', join(folder, '..data'))
    await symlink('..data/postern.yaml', file)
    const { watch, next, current } = await start(file)
    open = watch
    assert.ok(current.watched.some((path) => path.endsWith('..one/postern.yaml')))
    await symlink('..two', join(folder, '..tmp'))
    await rename(join(folder, '..tmp'), join(folder, '..data'))
    await rm(join(folder, '..one'), { recursive: true })
    assert.equal(loadedOf(await next()).policy.routes.routes[0]?.id, 'alive')
  })

  it('keeps the last good policy while a file is half written, and tells when it is whole', async () => {
    const file = await policyFiles({ 'postern.yaml': usual })
    const { watch, next, quiet, current } = await start(file)
    open = watch
    await writeFile(file, usual.slice(0, usual.indexOf('routes:') + 30))
    assert.notEqual(faultsOf(await next()).length, 0)
    await quiet(700)
    await writeFile(file, usual)
    assert.equal(loadedOf(await next()).revision, current.revision)
  })

  it('tells a file that is gone, and one that came', async () => {
    const file = await policyFiles({
      'postern.yaml': `${usual}include: ["more*.yaml"]\n`,
      'more1.yaml': 'routes:\n  - { id: m1, path: /m1, roles: [invoke] }\n',
    })
    const { watch, next } = await start(file)
    open = watch
    await writeFile(join(dirname(file), 'more2.yaml'), 'routes:\n  - { id: m2, path: /m2, roles: [invoke] }\n')
    assert.equal(loadedOf(await next()).policy.routes.routes.length, 4)
    await rm(file)
    assert.match(faultsOf(await next())[0]?.message ?? '', /there is no such file/)
  })

  it('refuses a change of listeners with the sentence that a restart is needed', async () => {
    const file = await policyFiles({ 'postern.yaml': usual })
    const { watch, next } = await start(file)
    open = watch
    await writeFile(file, usual.replace('check.sock', 'other.sock'))
    const [fault] = faultsOf(await next())
    assert.deepEqual([fault?.path, fault?.line], ['listen.check', 3])
    assert.match(fault?.message ?? '', /restart/)
  })

  it('looks at once when told to, and once more when told while it looks', async () => {
    const file = await policyFiles({ 'postern.yaml': usual })
    const { watch, next, current } = await start(file)
    open = watch
    const began = performance.now()
    await replace(file, renamed)
    watch.now()
    assert.equal(loadedOf(await next()).policy.routes.routes[0]?.id, 'alive')
    watch.now()
    await replace(file, usual)
    watch.now()
    assert.equal(loadedOf(await next()).revision, current.revision)
    const took = performance.now() - began
    assert.ok(took < 300, `two changes took ${took} ms: no sooner than the usual looks`)
  })

  it('says nothing after it was closed', async () => {
    const file = await policyFiles({ 'postern.yaml': usual })
    const { watch, quiet } = await start(file)
    watch.close()
    await writeFile(file, renamed)
    await quiet(700)
  })
})

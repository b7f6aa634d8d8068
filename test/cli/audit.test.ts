import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type TemporaryFolder, temporaryFolder } from '../support/temporary-folder.ts'
import { until } from '../support/until.ts'
import { cli, type Ran } from './captured.ts'

interface Verdict {
  readonly verified: boolean
  readonly problems: readonly { readonly fault: string; readonly seq: number; readonly event: string }[]
  readonly heads: readonly { readonly log: string; readonly boot: string; readonly seq: number; readonly hash: string }[]
}

describe('postern audit', function () {
  this.timeout(60_000)
  let folder: TemporaryFolder
  let service: RunningPostern
  let policy: string
  let at: readonly string[]

  before(async () => {
    folder = temporaryFolder()
    equal((await cli(['init', '--dir', folder.path])).code, 0)
    const [admin, issuer] = await freePorts(2)
    policy = readFileSync(folder.file('postern.yaml'), 'utf8')
      .replace(':9192', `:${admin}`)
      .replace(':9193', `:${issuer}`)
      .replace(/^state:.*$/m, `state: file:${folder.file('postern.db')}`)
      .concat('\naudit: { retain: 30d }\n')
    service = await startPostern(policy, { folder })
    at = ['--config', service.config]
    for (const id of ['s1', 's2', 's3']) equal((await cli(['owner', 'set', 'sandbox', id, 'user:alice', ...at])).code, 0)
    equal((await cli(['revoke', 'subject', 'user:mallory', ...at])).code, 0)
  })
  after(async () => {
    await service.stop()
    folder.remove()
  })
  const run = (...argv: string[]): Promise<Ran> => cli(['audit', ...argv, ...at])
  const verdict = async (...argv: string[]): Promise<{ readonly code: number; readonly told: Verdict }> => {
    const { code, out } = await run('verify', '--json', ...argv)
    return { code, told: JSON.parse(out) as Verdict }
  }

  it('shows the newest events first, by its filters', async () => {
    const { code, out, err } = await run('events', '--event-type', 'token_revoked')
    equal(code, 0, err)
    match(
      out,
      /^TIME {2,}TYPE {2,}OUTCOME {2,}ACTOR {2,}TARGET {2,}REASON {2,}ID\n\S+ {2}token_revoked {2}success {2}\S+ {2}user:mallory {2}- {7}\S+\n$/,
    )
    const json = JSON.parse((await run('events', '--event-type', 'owner_changed', '--since', '1h', '--limit', '2', '--json')).out) as {
      events: { target: string }[]
    }
    deepEqual(
      json.events.map(({ target }) => target),
      ['sandbox:s3', 'sandbox:s2'],
    )
    equal((await run('events', '--agent-id', 'user:mallory', '--outcome', 'success')).out.split('\n').length, 3)
    match((await run('events', '--event-type', 'nonsense')).err, /Allowed choices are decision, /)
    equal((await run('events', '--limit', '0')).code, 2)
    match((await run('events', '--since', 'soon')).err, /400 bad_query: since: expected a time such as/)
  })

  it('verifies a running service, and an export of it without the service', async () => {
    const { code, out, err } = await run('verify')
    equal(code, 0, err)
    match(out, /^verified: \d+ events and 0 decisions in 1 chains\nevents ends with [0-9a-f]{24}:\d+:[0-9a-f]{64}\n$/)
    const exported = await run('export')
    equal(exported.code, 0)
    ok(exported.out.trimEnd().split('\n').length > 8)
    const file = folder.file('export.jsonl')
    writeFileSync(file, exported.out)
    equal((await run('verify', '--file', file)).code, 0)
    const anchor = /events ends with (\S+)/.exec(out)![1]!
    equal((await run('verify', '--file', file, '--anchor', anchor)).code, 0)
    writeFileSync(file, exported.out.replace('user:mallory', 'user:somebody'))
    const changed = await run('verify', '--file', file)
    equal(changed.code, 1)
    match(changed.err, /^changed at line \d+ of events, link [0-9a-f]{24}:\d+, event [0-9a-f-]{36}: expected an event whose hash is /)
    writeFileSync(file, exported.out.split('\n').slice(0, 5).join('\n'))
    const cut = await run('verify', '--file', file, '--anchor', anchor)
    equal(cut.code, 1)
    match(cut.err, /^truncated, link [0-9a-f]{24}:6: expected links 6 to \d+ of /)
    match((await run('verify', '--anchor', 'x')).err, /--anchor x: expected BOOT:SEQ:HASH/)
    match((await run('verify', '--file', folder.file('none'))).err, /none: cannot be read \(ENOENT\)/)
    match((await run('verify', '--jwks', file)).err, /expected a JSON Web Key Set/)
  })

  it('tells its anchors in log and metrics, where they are out of reach of who rewrites the trail', async () => {
    const before = (await verdict()).told.heads.at(-1)!
    await service.stop()
    const line = service.logs().find(({ msg }) => msg === 'audit trail')
    const [anchor] = (line?.['anchors'] ?? []) as string[]
    ok(anchor)
    match(anchor, new RegExp(`^${before.boot}:\\d+:[0-9a-f]{64}$`))
    // Somebody removes the end of the trail while nobody runs.
    const database = new DatabaseSync(folder.file('postern.db'))
    const cut = database.prepare('DELETE FROM audit WHERE seq > (SELECT max(seq) FROM audit) - 2').run()
    equal(cut.changes, 2)
    database.close()
    service = await startPostern(policy, { folder })
    equal((await verdict()).told.verified, true)
    const { code, told } = await verdict('--anchor', anchor)
    equal(code, 1)
    equal(told.problems[0]?.fault, 'truncated')
    const port = /127\.0\.0\.1:(\d+)/.exec(/admin:[\s\S]*?address:.*/.exec(policy)![0])![1]
    const metrics = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    match(metrics, /^postern_audit_events_loaded \d+$/m)
    match(metrics, /^postern_audit_head_seq\{log="events",boot="[0-9a-f]{24}"\} \d+$/m)
    match(metrics, /^postern_audit_head_info\{log="events",boot="[0-9a-f]{24}",seq="\d+",hash="[0-9a-f]{64}"\} 1$/m)
  })

  it('verifies an export whose events hold what other programs take for the end of a line', async () => {
    const target = 'user:a\u2028b\u2029c\u0085d\re\u000bf'
    equal((await cli(['revoke', 'subject', target, ...at])).code, 0)
    const { out } = await run('export', '--log', 'events')
    ok(out.includes('a\u2028b\u2029c'))
    writeFileSync(folder.file('odd.jsonl'), out)
    equal((await run('verify', '--file', folder.file('odd.jsonl'))).code, 0)
    // With the line ends of another system, and none at the end.
    writeFileSync(folder.file('odd.jsonl'), out.trimEnd().replaceAll('\n', '\r\n'))
    equal((await run('verify', '--file', folder.file('odd.jsonl'))).code, 0)
  })

  it('names an event that somebody changed in state, and one that is gone', async () => {
    await run('events')
    await run('events')
    const database = new DatabaseSync(folder.file('postern.db'))
    // What a row says cannot be updated by mistake; on purpose it can.
    const row = database.prepare("SELECT seq, realm, id, event FROM audit WHERE event LIKE '%user:mallory%'").get() as Record<
      string,
      string
    >
    const rewrite = (event: string) => {
      database.prepare('DELETE FROM audit WHERE seq = ?').run(row['seq']!)
      database.prepare('INSERT INTO audit (seq, realm, id, event) VALUES (?, ?, ?, ?)').run(row['seq']!, row['realm']!, row['id']!, event)
    }
    rewrite(row['event']!.replace('user:mallory', 'user:somebody'))
    const { id, chain } = JSON.parse(row['event']!) as { id: string; chain: { seq: number } }
    const changed = await verdict()
    equal(changed.code, 1)
    deepEqual([changed.told.problems[0]?.fault, changed.told.problems[0]?.event, changed.told.problems[0]?.seq], ['changed', id, chain.seq])
    rewrite(row['event']!)
    equal((await verdict()).code, 0)
    database.prepare("DELETE FROM audit WHERE event LIKE '%sandbox:s2%'").run()
    database.close()
    equal((await verdict()).told.problems[0]?.fault, 'removed')
  })

  it('tells of an act whose caller was told 503, once state takes it: it has been done', async () => {
    const database = new DatabaseSync(folder.file('postern.db'))
    database.exec(`CREATE TRIGGER refused BEFORE INSERT ON audit WHEN NEW.event LIKE '%agent:late%' BEGIN SELECT RAISE(ABORT, 'no'); END`)
    const { code, err } = await cli(['revoke', 'subject', 'agent:late', ...at])
    equal(code, 1)
    match(err, /503|unavailable/i)
    const events = async () =>
      (JSON.parse((await run('events', '--agent-id', 'agent:late', '--json')).out) as { events: { type: string }[] }).events
    database.exec('DROP TRIGGER refused')
    database.close()
    await until('the event', async () => (await events()).length > 0, 5000)
    deepEqual(
      (await events()).map(({ type }) => type),
      ['token_revoked'],
    )
  })
})

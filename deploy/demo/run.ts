import { styleText } from 'node:util'
import { step as say } from '../local/cache.mjs'
import { type Platform, startPlatform } from './platform.ts'
import { handTokens, type Shown, walk } from './tour.ts'

const once = process.argv.includes('--once')
const paint = (style: Parameters<typeof styleText>[0], text: string): string => (process.stdout.isTTY ? styleText(style, text) : text)
const print = (line = ''): void => void process.stdout.write(`${line}\n`)

function tell({ title, request, status, reason, saw, accessLog, faults }: Shown): void {
  const mark = faults.length === 0 ? paint('green', 'as it should be') : paint('red', `WRONG: ${faults.join('; ')}`)
  print()
  print(`${paint('bold', title)}  (${mark})`)
  print(`  request     ${request}`)
  print(`  status      ${status}  ${paint(reason === 'ok' ? 'green' : 'yellow', reason)}`)
  print(`  upstream    ${saw}`)
  print(`  access log  ${paint('dim', JSON.stringify(accessLog))}`)
}

function table(shown: readonly Shown[]): void {
  const rows = [
    ['#', 'what', 'request', 'status', 'reason'],
    ...shown.map((s, i) => [String(i + 1), s.title, s.request, String(s.status), s.reason]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  print()
  for (const row of rows)
    print(
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('  ')
        .trimEnd(),
    )
}

async function byHand(platform: Platform): Promise<void> {
  const { alice, bob } = await handTokens(platform)
  const curl = `curl --cacert ${platform.folder}/workloads-ca.crt --resolve edge.example:${platform.port}:127.0.0.1`
  const edge = `https://edge.example:${platform.port}`
  const cli = `POSTERN_ADMIN_SECRET=${platform.adminSecret} npm run -s postern --`
  print(`
Everything stays up until Ctrl-C. To try by hand, in another terminal (tokens last 5 minutes):

  ALICE=${alice}
  BOB=${bob}

  ${curl} -H "authorization: Bearer $ALICE" -X POST ${edge}/v1/sandboxes
  ${curl} -H "authorization: Bearer $ALICE" -X POST ${edge}/v1/sandboxes/ID/run
  ${curl} -H "authorization: Bearer $BOB" -i -X POST ${edge}/v1/sandboxes/ID/run
  ${curl} --cert ${platform.folder}/researcher.crt --key ${platform.folder}/researcher.key -X POST ${edge}/v1/sandboxes

  ${cli} routes --config ${platform.config}
  ${cli} explain --config ${platform.config} --method POST --path /v1/sandboxes/ID/run --token "$BOB" --label sandbox:ID:alice
  ${cli} owner get sandbox ID --config ${platform.config}
  ${cli} status --config ${platform.config}
  curl ${platform.admin}/metrics`)
}

async function demo(): Promise<number> {
  const platform = await startPlatform(say)
  const stopped = new Promise<void>((resolve) => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve())
  })
  try {
    say('walking the tour')
    const shown = await walk(platform, tell)
    table(shown)
    const wrong = shown.filter(({ faults }) => faults.length > 0)
    print()
    print(
      wrong.length === 0
        ? `All ${shown.length} steps came out as they should.`
        : `${wrong.length} of ${shown.length} steps came out wrong.`,
    )
    if (!once) {
      await byHand(platform)
      await stopped
    }
    return wrong.length === 0 ? 0 : 1
  } finally {
    say('stopping')
    await platform.stop()
  }
}

demo().then(
  (code) => {
    process.exitCode = code
  },
  (cause: unknown) => {
    process.stderr.write(`The demo could not run: ${cause instanceof Error ? cause.message : String(cause)}\n`)
    process.exitCode = 1
  },
)

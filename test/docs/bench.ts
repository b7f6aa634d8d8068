import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { type RunningRedis, startRedis } from '../support/redis.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { assertOutput, type Command, commandsOf, runCommands } from './console.ts'
import { type Block, checkout, type Page } from './markdown.ts'

/** What a page's commands run beside. */
export interface Bench {
  readonly run: (block: Block) => Promise<void>
  /** Address of the issuer listener. */
  readonly issuer: string
  readonly folder: string
  readonly stop: () => Promise<void>
}

const envoyProgram = process.env['POSTERN_TEST_ENVOY']
/** Envoy's listener, and its admin interface. */
const asksEnvoy = (text: string): boolean => /:(10000|9901)\b/.test(text)

/** Whether a block can be run here: some ask Envoy. */
export const canRun = ({ text }: Block): boolean => envoyProgram !== undefined || !(asksEnvoy(text) || text.includes('$ envoy '))

/**
 * A folder as `postern init` fills it, with the files of the page's named blocks, `deploy/` and `envoy/` of the checkout, and the service that
 * serves its policy. Where the page's first command is `postern init`, that block is run to fill it. Where a command is `redis-cli`, a Redis
 * is the service's state.
 * @param cache folder for Node's compile cache: the many short commands start twice as fast with it
 */
export async function openBench(page: Page, cache: string): Promise<Bench> {
  const folder = temporaryFolder()
  const bin = folder.file('bin')
  const work = folder.file('work')
  mkdirSync(bin)
  mkdirSync(work)
  writeFileSync(
    join(bin, 'postern'),
    `#!/bin/sh\nexport NODE_COMPILE_CACHE='${cache}'\nexec '${process.execPath}' '${join(checkout, 'src/main.ts')}' "$@"\n`,
    { mode: 0o755 },
  )
  for (const name of ['deploy', 'envoy']) symlinkSync(join(checkout, name), join(work, name))
  if (envoyProgram !== undefined) symlinkSync(envoyProgram, join(bin, 'envoy'))
  const shown = page.blocks.filter(({ info, untested }) => info === 'console' && untested === undefined)
  const [first] = shown
  const [admin = 0, issuer = 0, edge = 0, upstream = 0, envoyAdmin = 0] = await freePorts(5)
  const ports: Readonly<Record<string, number>> = { 9192: admin, 9193: issuer, 9901: envoyAdmin, 10000: edge }
  const replaced = (text: string): string =>
    text
      .replace(/:(9192|9193|9901|10000)\b/g, (_, port: string) => `:${ports[port]}`)
      .replaceAll('/run/postern/check.sock', join(work, 'run.sock'))
  const runAll = async (commands: readonly Command[]): Promise<void> => {
    const asked = commands.map((command) => ({ ...command, text: replaced(command.text), expected: command.expected.map(replaced) }))
    const results = await runCommands(asked, { cwd: work, bin })
    for (const [i, { output, exit }] of results.entries()) {
      assert.equal(exit, asked[i]!.exit, `$ ${asked[i]!.text}\nended with ${exit} and printed:\n${output}`)
      assertOutput(asked[i]!, output)
    }
  }

  const fills = first?.text.startsWith('$ postern init\n') === true
  await runAll(commandsOf(fills ? first.text : '$ postern init'))
  for (const { info, text } of page.blocks) {
    const name = /^yaml (\S+\.yaml)$/.exec(info)?.[1]
    if (name !== undefined) writeFileSync(join(work, name), text)
  }
  const policy = readFileSync(join(work, 'postern.yaml'), 'utf8')
  const place = { path: work, file: (name: string) => join(work, name), remove: () => {} }
  const redis = shown.some(({ text }) => text.includes('$ redis-cli ')) ? await startRedis() : undefined
  if (redis !== undefined) writeFileSync(join(bin, 'redis-cli'), redisCli(redis), { mode: 0o755 })
  const env = { NODE_COMPILE_CACHE: cache, ...(redis && stateIn(redis)) }
  const service: RunningPostern = await startPostern(replaced(policy), { folder: place, env })
  let envoy: RunningEnvoy | undefined

  return {
    run: async (block) => {
      if (block === first && fills) return
      if (asksEnvoy(block.text) && envoy === undefined) {
        const text = readFileSync(join(work, 'envoy.yaml'), 'utf8')
        const moved = text.replaceAll('port_value: 10001', `port_value: ${upstream}`).replace('port_value: 10000', `port_value: ${edge}`)
        envoy = await startEnvoy(`${moved}\nadmin: { address: { socket_address: { address: 127.0.0.1, port_value: ${envoyAdmin} } } }\n`)
      }
      await runAll(commandsOf(block.text))
    },
    issuer: `http://127.0.0.1:${issuer}`,
    folder: work,
    stop: async () => {
      await envoy?.stop()
      await service.stop()
      await redis?.stop()
      assert.ok(existsSync(work))
      folder.remove()
    },
  }
}

/** What has a service keep its state in this Redis. */
const stateIn = ({ url }: RunningRedis): NodeJS.ProcessEnv => ({
  POSTERN_STATE: url,
  POSTERN_ISSUER_KEYS_ENCRYPTION_KEY: randomBytes(32).toString('hex'),
})

/** The command of this name: not every Redis that the tests run on comes with it. */
const redisCli = ({ port }: RunningRedis): string => `#!${process.execPath}
const { Redis } = require('${join(checkout, 'node_modules/ioredis')}')
const redis = new Redis(${port}, '127.0.0.1')
const [name, ...args] = process.argv.slice(2)
redis.call(name, ...args).then((answer) => console.log(answer)).finally(() => redis.disconnect())
`

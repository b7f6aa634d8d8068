import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type RunningEnvoy, startEnvoy } from '../support/envoy.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
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

/** Whether a block can be run here: some ask Envoy. */
export const canRun = (block: Block): boolean => !block.text.includes(':10000') || process.env['POSTERN_TEST_ENVOY'] !== undefined

/**
 * A folder as `postern init` fills it, with the files of the page's named blocks, and the service that serves its policy. Where the
 * page's first command is `postern init`, that block is run to fill it.
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
  const first = page.blocks.find(({ info, untested }) => info === 'console' && !untested)
  const [admin = 0, issuer = 0, edge = 0, upstream = 0] = await freePorts(4)
  const replaced = (text: string): string =>
    text
      .replace(/:(9192|9193|10000)\b/g, (_, port: string) => `:${{ 9192: admin, 9193: issuer, 10000: edge }[port]}`)
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
  const service: RunningPostern = await startPostern(replaced(policy), { folder: place, env: { NODE_COMPILE_CACHE: cache } })
  let envoy: RunningEnvoy | undefined

  return {
    run: async (block) => {
      if (block === first && fills) return
      if (block.text.includes(':10000') && envoy === undefined) {
        const text = readFileSync(join(work, 'envoy.yaml'), 'utf8')
        const ports = text.replaceAll('port_value: 10001', `port_value: ${upstream}`).replace('port_value: 10000', `port_value: ${edge}`)
        envoy = await startEnvoy(`${ports}\nadmin: { address: { socket_address: { address: 127.0.0.1, port_value: 0 } } }\n`)
      }
      await runAll(commandsOf(block.text))
    },
    issuer: `http://127.0.0.1:${issuer}`,
    folder: work,
    stop: async () => {
      await envoy?.stop()
      await service.stop()
      assert.ok(existsSync(work))
      folder.remove()
    },
  }
}

/**
 * From nothing: builds images of this machine's programs, starts the stack, tours it, takes it down, and looks that nothing is left; then the
 * same with each overlay. In an engine that answers, else in one of its own (as root). Exit code 0 where all went well.
 *
 *   node deploy/compose/try.mjs                     all that can be run here: plain, tls, mtls with observability, spire
 *   node deploy/compose/try.mjs plain mtls          some of them; `mtls+observability` is two overlays at once
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { step } from '../local/cache.mjs'
import { SetupError } from '../local/command.mjs'
import { ensureCompose } from '../local/compose.mjs'
import { ensureDocker, openDocker } from '../local/docker.mjs'
import { removeLocalImages } from '../local/images.mjs'
import { freePort } from '../local/keycloak.mjs'
import { buildLocal } from './local.mjs'
import { leftovers, openStack, overlays } from './stack.mjs'
import { tour, tourMtls, tourObservability } from './tour.mjs'

/** @typedef {import('./stack.mjs').Overlay} Overlay */

/** What is tried unless told otherwise. */
export const usualRuns = ['plain', 'tls', 'mtls+observability', 'spire']

/**
 * One run, from nothing to nothing.
 * @param {{ docker: import('../local/docker.mjs').Docker, compose: string, with: readonly Overlay[], tell: (line: string) => void, context?: string }} options
 * @throws where a step of the tour fails, or anything is left
 */
export async function tryStack({ docker, compose, with: chosen, tell, ...options }) {
  const local = await buildLocal(docker, chosen, options)
  const folder = mkdtempSync(join(tmpdir(), 'postern-compose-'))
  const state = join(folder, 'state')
  const project = `posterntry${process.pid}`
  const ports = { edge: await freePort(), keycloak: await freePort(), prometheus: await freePort(), grafana: await freePort() }
  const stack = openStack({ compose, docker: docker.docker, env: docker.env, with: chosen, ports, state, project, ...local })
  let broken = true
  try {
    step(`up: ${['plain', ...chosen].join(', ')}`)
    await stack.up()
    step('up and healthy')
    await tour(stack, tell)
    if (chosen.includes('mtls') || chosen.includes('spire')) await tourMtls(stack, tell)
    if (chosen.includes('observability')) await tourObservability(stack, tell)
    broken = false
  } finally {
    if (broken) step(await stack.compose(['logs', '--tail', '15', '--no-color']).catch((error) => String(error)))
    await stack.down().finally(() => rmSync(folder, { recursive: true, force: true }))
  }
  if (existsSync(state)) throw new SetupError(`${state} is left`)
  const left = await leftovers(docker.docker, docker.env, project)
  if (left.length > 0) throw new SetupError(`left: ${left.join(', ')}`)
  tell('it is down, and nothing is left: no container, volume, network, secret or certificate')
}

/** @param {string} run @returns {Overlay[]} */
export function overlaysOf(run) {
  const names = run.split('+').filter((name) => name !== 'plain')
  const unknown = names.find((name) => !(name in overlays))
  if (unknown !== undefined) throw new SetupError(`${unknown}: expected plain, ${Object.keys(overlays).join(', ')}`)
  return /** @type {Overlay[]} */ (names)
}

async function main() {
  const runs = process.argv.length > 2 ? process.argv.slice(2) : usualRuns
  const chosen = runs.map(overlaysOf)
  const got = await ensureDocker()
  if ('reason' in got) throw new SetupError(got.reason)
  const composed = await ensureCompose()
  if ('reason' in composed) throw new SetupError(composed.reason)
  const docker = await openDocker(got.docker)
  try {
    for (const one of chosen) {
      process.stdout.write(`\n${['plain', ...one].join(' + ')}\n`)
      await tryStack({ docker, compose: composed.path, with: one, tell: (line) => process.stdout.write(`- ${line}\n`) })
    }
  } finally {
    if (!docker.own) await removeLocalImages(docker)
    await docker.stop()
  }
}

if (import.meta.main) {
  try {
    await main()
  } catch (error) {
    process.stderr.write(`try: ${error instanceof Error ? (error instanceof SetupError ? error.message : error.stack) : error}\n`)
    process.exitCode = 1
  }
}

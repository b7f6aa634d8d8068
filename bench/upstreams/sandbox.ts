import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { account, type Way } from './envoy.ts'

const picod = fileURLToPath(new URL('../../deploy/upstreams/picod.ts', import.meta.url))
const limitMs = 15_000

/** A new sandbox: a process of its own. */
export interface Sandbox {
  readonly port: number
  /** Milliseconds from its start until it listened. */
  readonly listened: number
  readonly stop: () => Promise<void>
}

/** Starts the sample sandbox in a mode, with the certificates of a folder, and waits until it says that it listens. */
export async function startSandbox(way: Way, id: string, issuer: string, folder: string): Promise<Sandbox> {
  const tls = ['--cert', `${folder}/picod.crt`, '--key', `${folder}/picod.key`, '--ca', `${folder}/ca.crt`, '--allow', account('router')]
  const args = [picod, '--listen', '127.0.0.1:0', '--sandbox', id, '--issuer', issuer, '--mode', way, ...(way === 'mtls' ? tls : [])]
  const begun = performance.now()
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, NODE_OPTIONS: '' } })
  const kill = () => void child.kill('SIGKILL')
  process.once('exit', kill)
  const ended = new Promise<void>((done) => void child.once('exit', () => done()))
  const stop = async (): Promise<void> => {
    kill()
    await ended
    process.removeListener('exit', kill)
  }
  let said = ''
  const port = await new Promise<number>((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`a sandbox did not listen within ${limitMs} ms`)), limitMs)
    child.once('exit', () => fail(new Error(`a sandbox ended instead of listening: ${said}`)))
    // Read on for as long as it lives: it writes a line for each request.
    child.stdout.on('data', (bytes: Buffer) => {
      said += said.length < 10_000 ? bytes.toString() : ''
      const found = /"listening":"127\.0\.0\.1:(\d+)"/.exec(said)?.[1]
      if (found === undefined) return
      clearTimeout(timer)
      done(Number(found))
    })
  }).catch(async (cause: unknown) => {
    await stop()
    throw cause
  })
  return { port, listened: performance.now() - begun, stop }
}

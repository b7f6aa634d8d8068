/** Runs other programs, and finds them. */
import { spawn } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, resolve } from 'node:path'
import { checkout } from './cache.mjs'

/** A set-up step that cannot go on. The message says what was expected and what to do. */
export class SetupError extends Error {
  /** @override */
  name = 'SetupError'
}

/** A program that ended otherwise than with exit code 0. */
export class CommandError extends SetupError {
  /** @override */
  name = 'CommandError'

  /**
   * @param {string} message
   * @param {{ code: number | null, signal: string | null, output: string }} result
   */
  constructor(message, result) {
    super(message)
    this.code = result.code
    this.signal = result.signal
    this.output = result.output
  }
}

/**
 * Runs a program to its end. Its output is collected, or shown on stderr as it comes with `show`.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ cwd?: string, env?: Record<string, string | undefined>, show?: boolean, limit?: number, leave?: boolean }} [options]
 *   `env` is added to this process's own (undefined removes a name); `limit` in milliseconds;
 *   `leave` lets it come to its end when this process is told to end
 * @returns {Promise<string>} what it wrote to stdout
 * @throws {CommandError} when it cannot be started, is over its limit, or does not end with 0; holds the end of its output
 */
export function run(command, args, options = {}) {
  const { cwd = checkout, env = {}, show = false, limit = 0, leave = false } = options
  const line = [command, ...args].join(' ')
  return new Promise((done, fail) => {
    const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    let out = ''
    let all = ''
    let late = false
    // Nothing goes on in the background when this process ends: the next run would work in the same folder beside it. At
    // once, since npm and pip take their time after SIGTERM; what they left half done is done anew.
    const stop = () => leave || child.kill('SIGKILL')
    process.once('exit', stop)
    const tooLate = () => {
      late = true
      child.kill('SIGKILL')
    }
    const timer = limit > 0 ? setTimeout(tooLate, limit) : undefined
    child.stdout.setEncoding('utf8').on('data', (text) => {
      out += text
      all += text
      if (show) process.stderr.write(text)
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      all += text
      if (show) process.stderr.write(text)
    })
    child.on('error', (cause) => {
      clearTimeout(timer)
      process.removeListener('exit', stop)
      fail(new CommandError(`cannot run "${line}": ${cause.message}`, { code: null, signal: null, output: '' }))
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      process.removeListener('exit', stop)
      if (code === 0) return done(out)
      const how = late ? `was stopped after ${limit / 1000} s` : code === null ? `was ended by ${signal}` : `ended with exit code ${code}`
      const tail = show ? '' : `\n${excerpt(all)}`
      fail(new CommandError(`"${line}" ${how}${tail}`, { code, signal, output: all }))
    })
  })
}

/** The first and the last lines of a program's output: some say what is wrong at the start, some at the end. @param {string} text */
function excerpt(text) {
  const lines = text.trim().split('\n')
  return (lines.length <= 60 ? lines : [...lines.slice(0, 30), `(${lines.length - 60} lines left out)`, ...lines.slice(-30)]).join('\n')
}

/**
 * @param {string} name a program
 * @returns {string | undefined} its absolute path, if PATH has it
 */
export function which(name) {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder === '') continue
    const path = resolve(folder, name)
    if (isExecutable(path)) return path
  }
  return undefined
}

/** @param {string} path */
export function isExecutable(path) {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

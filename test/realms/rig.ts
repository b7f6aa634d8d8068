import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { Client, credentials } from '@grpc/grpc-js'
import type { CheckRequestMessage } from '../../src/wire/messages.ts'
import { servedProtos } from '../../src/wire/protos.ts'
import { type AdminClient, adminClient, adminSecret } from '../support/admin.ts'
import { freePorts } from '../support/free-port.ts'
import { type RunningPostern, startPostern } from '../support/postern.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** What a check of one request was answered. */
export interface Asked {
  /** `ok`, or the reason. */
  readonly reason: string
  /** Of the dynamic metadata. */
  readonly realm: string
  readonly subject: string | undefined
}

export interface Question {
  readonly extensions?: Readonly<Record<string, string>>
  readonly path?: string
  readonly token?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** A Postern that serves several realms. */
export interface RealmsRig {
  readonly postern: RunningPostern
  /** host:port */
  readonly at: { readonly check: string; readonly admin: string; readonly issuer: string }
  readonly ask: (question: Question) => Promise<Asked>
  /** The same, of an encoded CheckRequest. */
  readonly askBytes: (message: Buffer) => Promise<Asked>
  readonly admin: (realm: string) => Promise<AdminClient>
  /** Replaces the file of a realm in one step. */
  readonly write: (file: string, text: string) => void
  readonly remove: (file: string) => void
  readonly stop: () => Promise<void>
}

/** One of two realms that say the same: who owns what, and who may come, is apart all the same. */
export const tenant = (realm: string, more = ''): string => `version: 1
realm: ${realm}
roles: { user: {} }
identity:
  - { name: own, type: postern, audience: edge, subject_namespace: "" }
  - { name: partners, type: api-keys, default_role: user, subject_namespace: "key:" }
routes:
  - { id: ${realm}-sandbox, path: "/v1/sandboxes/{id}", roles: [user], owner: { resource: sandbox, id: "path:id" } }
  - { id: ${realm}-any, path: /v1/any, roles: [user] }
  - { id: ${realm}-only, path: /v1/${realm}, public: true }
${more}`

/** @param state of the main file; @param more further lines of it */
export async function startRealms(tenants: Readonly<Record<string, string>>, state = '"memory:"', more = ''): Promise<RealmsRig> {
  const folder = temporaryFolder()
  const [check, admin, issuer] = (await freePorts(3)).map((port) => `127.0.0.1:${port}`) as [string, string, string]
  mkdirSync(folder.file('tenants'))
  const write = (file: string, text: string): void => {
    writeFileSync(folder.file('tenant.new'), text)
    renameSync(folder.file('tenant.new'), folder.file(`tenants/${file}`))
  }
  for (const [file, text] of Object.entries(tenants)) write(file, text)
  const main = `version: 1
realms: [tenants/*.yaml]
listen: { check: { address: "${check}" }, admin: { address: "${admin}" }, issuer: { address: "${issuer}" } }
state: ${state}
admin: { secret: "\${env:POSTERN_TEST_ADMIN_SECRET}", audience: "postern-admin-{realm}" }
${more}`
  const postern = await startPostern(main, { folder, env: { POSTERN_TEST_ADMIN_SECRET: adminSecret } }).catch((cause: unknown) => {
    folder.remove()
    throw cause
  })
  const { askBytes, close } = openAsker(check)
  return {
    postern,
    at: { check, admin, issuer },
    ask: (question) => askBytes(encode(question)),
    askBytes,
    admin: (realm) => adminClient(`${admin}/realms/${realm}`),
    write,
    remove: (file) => rmSync(folder.file(`tenants/${file}`)),
    stop: async () => {
      close()
      await postern.stop()
      folder.remove()
    },
  }
}

export function encode({ extensions = {}, path = '/v1/any', token, headers = {} }: Question): Buffer {
  const sent = { ':authority': 'edge', ...(token === undefined ? {} : { authorization: `Bearer ${token}` }), ...headers }
  const request: CheckRequestMessage = {
    attributes: { context_extensions: { ...extensions }, request: { http: { method: 'GET', host: 'edge', path, headers: sent } } },
  }
  return servedProtos().check.requestSerialize(request)
}

interface Answer {
  readonly denied_response?: { readonly body?: string }
  readonly dynamic_metadata?: { readonly fields?: Readonly<Record<string, { readonly string_value?: string }>> }
}

/** @param address host:port of a check listener */
export function openAsker(address: string) {
  const client = new Client(address, credentials.createInsecure(), { 'grpc.use_local_subchannel_pool': 1 })
  const { path, responseDeserialize } = servedProtos().check
  const askBytes = (message: Buffer): Promise<Asked> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        path,
        (bytes: Buffer) => bytes,
        (bytes) => responseDeserialize(bytes) as Answer,
        message,
        { deadline: Date.now() + 2000 },
        (fault, answer) => {
          if (fault || !answer) return reject(fault)
          const text = (name: string) => answer.dynamic_metadata?.fields?.[name]?.string_value
          resolve({ reason: text('reason') ?? 'none', realm: text('realm') ?? '', subject: text('subject') })
        },
      )
    })
  return { askBytes, close: () => client.close() }
}

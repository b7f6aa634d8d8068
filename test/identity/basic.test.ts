import assert from 'node:assert/strict'
import { readCredential } from '../../src/core/credential.ts'
import { Deny } from '../../src/core/reasons.ts'
import { basicCredentials } from '../../src/identity/basic.ts'

const { unwrap } = basicCredentials('clients')
const above = new Set(['users', 'keys'])
const encoded = (text: string | Uint8Array): string => Buffer.from(text as string).toString('base64')
const ask = (token: string) => unwrap(readCredential(`Basic ${token}`), above)

describe('basic', () => {
  const read: readonly (readonly [name: string, userPass: string, token: string, only: string | undefined])[] = [
    ['any user name', 'oauth2accesstoken:abc', 'abc', undefined],
    ['no user name', ':abc', 'abc', undefined],
    ['a validator above it', 'keys:abc', 'abc', 'keys'],
    ['a validator that is not above it', 'later:abc', 'abc', undefined],
    ['a validator in another case', 'Keys:abc', 'abc', undefined],
    ['colons in the password', 'keys:a:b:c', 'a:b:c', 'keys'],
    ['UTF-8', 'jürgen:pässwort', 'pässwort', undefined],
    ['lengths that are padded once', 'u:1234', '1234', undefined],
    ['and twice', 'u:123', '123', undefined],
    ['a token of 8 KiB', `${'u'.repeat(256)}:${'t'.repeat(8192)}`, 't'.repeat(8192), undefined],
  ]
  for (const [name, userPass, token, only] of read) {
    it(`hands on the password: ${name}`, () => assert.deepEqual(ask(encoded(userPass)), { token, only }))
  }

  const refused: readonly (readonly [name: string, token: string])[] = [
    ['nothing', ''],
    ['no base64', '?'],
    ['without its padding', encoded('u:123').replace(/=+$/, '')],
    ['padding too many', `${encoded('u:1234')}=`],
    ['base64url', Buffer.from('u:\u00fb\u00ff?>').toString('base64url')],
    ['bits behind the last byte', `${encoded('u:123').slice(0, -3)}h==`],
    ['white space inside', `${encoded('u:').slice(0, 2)} ${encoded('u:x').slice(2)}`],
    ['a space before it', ` ${encoded('u:x')}`],
    ['a second value', `${encoded('u:x')}, Bearer x`],
    ['no colon', encoded('token')],
    ['no password', encoded('u:')],
    ['no UTF-8', encoded(Uint8Array.of(0x75, 0x3a, 0xff))],
    ['a line break', encoded('u:a\nb')],
    ['a NUL in the user name', encoded('u\u0000:a')],
    ['DEL', encoded('u:a\u007f')],
    ['a control character behind ASCII', encoded('u:a\u0085')],
    ['too long', encoded(`u:${'t'.repeat(8500)}`)],
  ]
  for (const [name, token] of refused) {
    it(`refuses ${name}`, () => {
      const verdict = ask(token)
      assert.ok(verdict instanceof Deny, JSON.stringify(verdict))
      assert.equal(verdict.reason, 'invalid_credential')
      if (token.length > 4) assert.ok(!verdict.detail.includes(token))
    })
  }
})

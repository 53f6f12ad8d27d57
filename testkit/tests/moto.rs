//! moto's server, as tests of the whole will use it.

#![cfg(test)]

use serde_json::json;
use testkit::moto::Moto;

const REGION: &str = "ap-northeast-2";

#[tokio::test]
async fn a_key_opens_what_it_sealed_in_the_same_context_only() {
    let moto = Moto::start().await.unwrap();
    let key_id = moto.create_key(REGION).await.unwrap();
    let sealed = moto
        .call(
            "kms",
            REGION,
            "TrentService.GenerateDataKey",
            &json!({
                "KeyId": key_id,
                "KeySpec": "AES_256",
                "EncryptionContext": {"access_key_id": "1"},
            }),
        )
        .await
        .unwrap();
    let open = async |owner: &str| {
        let input = json!({
            "CiphertextBlob": sealed["CiphertextBlob"],
            "EncryptionContext": {"access_key_id": owner},
        });
        moto.call("kms", REGION, "TrentService.Decrypt", &input)
            .await
    };
    assert_eq!(open("1").await.unwrap()["Plaintext"], sealed["Plaintext"]);
    let refused = open("2").await.unwrap_err().to_string();
    assert!(refused.contains("InvalidCiphertext"), "{refused}");
}

#[tokio::test]
async fn a_secret_is_found_by_its_arn() {
    let moto = Moto::start().await.unwrap();
    let arn = moto.create_secret(REGION, "hasher", "open sesame").await;
    let input = json!({"SecretId": arn.unwrap()});
    let action = "secretsmanager.GetSecretValue";
    let secret = moto.call("secretsmanager", REGION, action, &input).await;
    assert_eq!(secret.unwrap()["SecretString"], "open sesame");
}
